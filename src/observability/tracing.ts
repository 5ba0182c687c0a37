import type { WorkerPlugin } from '@temporalio/worker';
import { RecoveryError } from '../domain/errors.js';

/** What a worker needs to send traces. */
export interface Tracing {
  plugin: WorkerPlugin;
  /** Sends what is left. */
  stop(): Promise<void>;
}

export const TRACING_PACKAGES = [
  '@temporalio/interceptors-opentelemetry',
  '@opentelemetry/api',
  '@opentelemetry/exporter-trace-otlp-proto',
  '@opentelemetry/resources',
  '@opentelemetry/sdk-trace-node',
] as const;

/**
 * OpenTelemetry's standard switch, `OTEL_TRACES_EXPORTER=otlp`; unset is off. Its other variables (`OTEL_SERVICE_NAME`,
 * `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`, …) are read by its own packages, which are optional and
 * loaded only here. Throws CONFIG_INVALID where it asks for what is not there.
 */
export async function startTracing(env = process.env): Promise<Tracing | null> {
  const exporter = env['OTEL_TRACES_EXPORTER'] ?? 'none';
  if (exporter === 'none' || exporter === '' || env['OTEL_SDK_DISABLED'] === 'true') return null;
  if (exporter !== 'otlp') throw invalid('only "otlp" and "none" are known');
  const packages = await load();
  const { OpenTelemetryPlugin, OTLPTraceExporter, detectResourcesSync, envDetectorSync, Resource, sdk } = packages;
  const resource = Resource.default()
    .merge(new Resource({ 'service.name': 'temporal-clickhouse-recovery' }))
    .merge(detectResourcesSync({ detectors: [envDetectorSync] }));
  const spanProcessor = new sdk.BatchSpanProcessor(new OTLPTraceExporter());
  const provider = new sdk.NodeTracerProvider({ resource, spanProcessors: [spanProcessor] });
  // For the whole process: the interceptors hand the context on through OpenTelemetry's global propagator.
  provider.register();
  return { plugin: new OpenTelemetryPlugin({ resource, spanProcessor }), stop: () => provider.shutdown() };
}

async function load() {
  try {
    const [{ OpenTelemetryPlugin }, { OTLPTraceExporter }, resources, sdk] = await Promise.all([
      import('@temporalio/interceptors-opentelemetry'),
      import('@opentelemetry/exporter-trace-otlp-proto'),
      import('@opentelemetry/resources'),
      import('@opentelemetry/sdk-trace-node'),
    ]);
    return { OpenTelemetryPlugin, OTLPTraceExporter, ...resources, sdk };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    throw invalid(`traces need packages that are not installed: npm install ${TRACING_PACKAGES.join(' ')}`);
  }
}

function invalid(complaint: string): RecoveryError {
  return new RecoveryError('CONFIG_INVALID', `OTEL_TRACES_EXPORTER: ${complaint}`, { field: 'OTEL_TRACES_EXPORTER' });
}
