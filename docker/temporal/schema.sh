#!/bin/sh
# Creates or updates Temporal's two databases. Every step may be repeated.
set -eu
for name in temporal visibility; do
  database=$([ "$name" = visibility ] && echo temporal_visibility || echo temporal)
  tool() { temporal-sql-tool --plugin postgres12 --ep postgresql --port 5432 --user temporal --db "$database" "$@"; }
  tool create
  # Refused where the schema has a version already, and then there is nothing to set up.
  tool setup-schema -v 0.0 || true
  tool update-schema -d "/etc/temporal/schema/postgresql/v12/$name/versioned"
done
