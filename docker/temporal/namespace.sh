#!/bin/sh
set -eu
temporal operator namespace describe --namespace default ||
  temporal operator namespace create --namespace default --retention 30d
