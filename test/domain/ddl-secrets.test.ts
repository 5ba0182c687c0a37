import { describe, expect, it } from 'vitest';
import { carriesSecret } from '../../src/domain/ddl-secrets.js';

describe('a definition with a credential', () => {
  it.each([
    "CREATE TABLE d.t (`a` Int32) ENGINE = MySQL('h:3306', 'db', 't', 'user', 'pw')",
    "CREATE TABLE d.t (`a` Int32) ENGINE = MySQL('h:3306', 'db', 't', 'user', '[HIDDEN]')",
    "CREATE TABLE d.t (`a` Int32) ENGINE = PostgreSQL('h', 'd,b', 't', 'user', 'p\\'w', 'schema')",
    "CREATE TABLE d.t (`a` Int32) ENGINE = S3('https://b/x.csv', 'KEY', 'SECRET', 'CSV')",
    "CREATE TABLE d.t (`a` Int32) ENGINE = RabbitMQ SETTINGS rabbitmq_host_port = 'h:1', rabbitmq_password = 'pw'",
    "CREATE TABLE d.t (`a` Int32) ENGINE = URL('http://user:pw@host/x', 'CSV')",
    "CREATE VIEW d.v AS SELECT * FROM remote('h', d.t, 'user', 'pw')",
    "CREATE VIEW d.v AS SELECT * FROM (SELECT * FROM mysql('h', 'd', concat('t', '1'), 'u', 'pw'))",
    "CREATE DICTIONARY d.x (`id` UInt64) PRIMARY KEY id SOURCE(CLICKHOUSE(USER 'u' PASSWORD 'pw' TABLE 't'))",
    "CREATE DICTIONARY d.x (`id` UInt64) PRIMARY KEY id SOURCE(HTTP(url 'http://h' credentials(user 'u' password 'pw')))",
    "CREATE TABLE d.t (`a` Int32) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = s3, secret_access_key = 'x')",
  ])('is suspected: %s', (sql) => {
    expect(carriesSecret(sql)).toBe(true);
  });

  it.each([
    "CREATE TABLE d.t (`password` String, `token` String DEFAULT 'x') ENGINE = MergeTree ORDER BY password",
    'CREATE TABLE d.`s3` (`a` Int32) ENGINE = Memory',
    "CREATE TABLE d.t (`a` Int32) ENGINE = S3('https://b/x.csv', 'CSV')",
    "CREATE TABLE d.t (`a` Int32) ENGINE = Distributed('cluster', 'd', 't', rand())",
    "CREATE VIEW d.v AS SELECT * FROM remote('h', d.t)",
    "CREATE DICTIONARY d.x (`id` UInt64) PRIMARY KEY id SOURCE(CLICKHOUSE(USER 'default' PASSWORD '' DB 'd' TABLE 't'))",
    "CREATE VIEW d.v AS SELECT 'it''s https://host/a@b' AS `x)`",
    '',
  ])('is not suspected: %s', (sql) => {
    expect(carriesSecret(sql)).toBe(false);
  });
});
