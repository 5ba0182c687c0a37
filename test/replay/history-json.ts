import { createRequire } from 'node:module';

interface Type {
  create: (properties: unknown) => unknown;
}
interface ProtoJson {
  fromJson: (type: Type, json: unknown, options: { ignoreUnknownFields: boolean }) => unknown;
  toJson: (type: Type, message: unknown) => { events: object[] };
}

/**
 * Histories as the JSON of Temporal's own tools (`temporal workflow show -o json`, the UI).
 *
 * The SDK's historyToJSON and historyFromJSON would do, but npm gives each of its packages a copy of protobufjs (gRPC's
 * older one takes the place at the top), and a type of one copy is none to the other: 'type must be a Type'. Here the
 * type and the conversion come from the same copy.
 */
const common = createRequire(createRequire(import.meta.url).resolve('@temporalio/common'));
const proto = createRequire(common.resolve('@temporalio/proto'));
const { fromJson, toJson } = proto('protobufjs/ext/protojson') as ProtoJson;
const { patchProtobufRoot } = common('@temporalio/proto/lib/patch-protobuf-root') as {
  patchProtobufRoot: (root: unknown) => { lookupType: (name: string) => Type };
};
const HISTORY = patchProtobufRoot(common('@temporalio/proto')).lookupType('temporal.api.history.v1.History');

export function historyFromJson(text: string): unknown {
  return fromJson(HISTORY, JSON.parse(text), { ignoreUnknownFields: true });
}

/** Without stack traces: they name folders of the machine that recorded, and no replay reads them. */
export function historyToJson(history: unknown): string {
  const json = toJson(HISTORY, history);
  return JSON.stringify(json, (key, value: unknown) => (key === 'stackTrace' ? undefined : value), 2) + '\n';
}
