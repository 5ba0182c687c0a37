import { describe, expect, it, vi } from 'vitest';
import type { AlertMapping } from '../../../src/config/api.js';
import { RecoveryError } from '../../../src/domain/errors.js';
import { requestsOf, type Alert } from '../../../src/interfaces/http/alerts.js';
import { api, problemIn } from './bench.js';

const MAPPING: AlertMapping = {
  clusterLabel: 'ch_cluster',
  clusters: { 'ch-eu-1': 'prod' },
  alerts: [
    { match: { alertname: 'ShardDataLost' }, backup: 'latest', tables: ['db.*'] },
    { match: { alertname: 'ReadonlyReplica', severity: 'page' } },
  ],
};

const alert = (change: Partial<Omit<Alert, 'labels'>> & { labels?: Record<string, string> } = {}): Alert => ({
  status: 'firing',
  startsAt: '2026-11-24T10:00:00.000Z',
  fingerprint: 'beef',
  ...change,
  labels: { alertname: 'ReadonlyReplica', severity: 'page', ch_cluster: 'ch-eu-1', ...change.labels },
});

describe('which alert starts what', () => {
  const incident = 'alert beef 2026-11-24T10:00:00.000Z';
  it.each<[name: string, alerts: Alert[], expected: object[]]>([
    ['none', [], []],
    ['one of ours waits for approval', [alert()], [{ cluster: 'prod', incident, approval: 'required' }]],
    ['resolved', [alert({ status: 'resolved' })], []],
    ['another value', [alert({ labels: { severity: 'info' } })], []],
    ['another alert', [alert({ labels: { alertname: 'toString' } })], []],
    ['a cluster by its own name', [alert({ labels: { ch_cluster: 'test' } })], [{ cluster: 'test' }]],
    ['a name of JavaScript', [alert({ labels: { ch_cluster: 'constructor' } })], [{ cluster: 'constructor' }]],
    [
      'nine replicas are one incident: that of the oldest alert',
      [
        alert({ fingerprint: 'c', startsAt: '2026-11-24T10:02:00Z' }),
        alert({ fingerprint: 'b', startsAt: '2026-11-24T12:01:00+02:00' }),
        alert({ fingerprint: 'd', startsAt: '2026-11-24T10:01:00Z' }),
      ],
      [{ incident: 'alert b 2026-11-24T12:01:00+02:00' }],
    ],
    [
      'the first rule decides',
      [alert(), alert({ labels: { alertname: 'ShardDataLost' }, fingerprint: 'f', startsAt: '2026-11-24T11:00:00Z' })],
      [{ backup: 'latest', tables: ['db.*'], incident: 'alert f 2026-11-24T11:00:00Z', approval: 'required' }],
    ],
    ['two clusters', [alert(), alert({ labels: { ch_cluster: 'test' } })], [{ cluster: 'prod' }, { cluster: 'test' }]],
  ])('%s', (_name, alerts, expected) => {
    expect(requestsOf(alerts, MAPPING)).toMatchObject(expected);
    expect(requestsOf(alerts, MAPPING)).toHaveLength(expected.length);
  });

  it('an alert without the label of a cluster starts nothing', () => {
    const { ch_cluster: _gone, ...labels } = alert().labels;
    expect(requestsOf([{ ...alert(), labels }], MAPPING)).toEqual([]);
  });
});

describe('POST /v1/webhooks/alertmanager', () => {
  /** As Alertmanager 0.28 sends it. */
  const payload = (alerts: unknown[]) => ({
    ...{ version: '4', groupKey: '{}:{}', truncatedAlerts: 0, status: 'firing', receiver: 'recovery' },
    ...{ groupLabels: {}, commonLabels: {}, commonAnnotations: {}, externalURL: 'http://am:9093' },
    alerts: alerts.map((each) => ({ ...(each as object), annotations: {}, endsAt: '', generatorURL: 'http://p' })),
  });
  const send = (service: Parameters<typeof api>[0], alerts: unknown[], as = 'root') =>
    api(service, { alertmanager: MAPPING }).ask('/v1/webhooks/alertmanager', { as, body: payload(alerts) });

  it('starts, and says what came of it', async () => {
    const startOnce = vi.fn(async () => ({ id: 'r-1', runId: 'x', started: true, taskQueue: 'q', workers: 1 }));
    const answer = await send({ startOnce }, [alert(), alert({ labels: { ch_cluster: 'nope' } })]);
    expect(answer.status).toBe(200);
    const started = { cluster: 'prod', id: 'r-1', url: '/v1/recoveries/r-1', outcome: 'started' };
    expect(JSON.parse(answer.text)).toEqual({ recoveries: [started] });
    expect(startOnce.mock.calls).toEqual([[expect.objectContaining({ approval: 'required' }), 'q']]);
  });

  it('a cluster that is not for this token is as one that is not there', async () => {
    const answer = await send({}, [alert()], 'stranger');
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 200, text: '{"recoveries":[]}' });
  });

  it.each([
    ['RECOVERY_RUNNING', 'in-recovery'],
    ['REQUEST_CONFLICT', 'known'],
  ] as const)('%s is no error for it: %s', async (code, outcome) => {
    const startOnce = () => Promise.reject(new RecoveryError(code, 'x', { objects: ['r-9'] }));
    const answer = await send({ startOnce }, [alert()]);
    expect(JSON.parse(answer.text)).toMatchObject({ recoveries: [{ id: 'r-9', outcome }] });
  });

  it('what it should send again is a 5xx', async () => {
    const startOnce = () => Promise.reject(new RecoveryError('TEMPORAL_UNAVAILABLE', 'away'));
    expect((await send({ startOnce }, [alert()])).status).toBe(503);
  });

  it.each([
    ['a fingerprint that is none', { ...alert(), fingerprint: '../x' }, 'alerts.0.fingerprint'],
    ['a time that is none', { ...alert(), startsAt: 'now' }, 'alerts.0.startsAt'],
    ['labels that are no texts', { ...alert(), labels: { a: 1 } }, 'alerts.0.labels.a'],
  ])('%s is refused', async (_name, bad, field) => {
    const answer = await send({}, [bad]);
    expect(problemIn(answer.text)).toMatchObject({ status: 400, code: 'INPUT_INVALID', field });
  });

  it('is for operators', async () => {
    expect((await send({}, [alert()], 'ann')).status).toBe(403);
  });
});
