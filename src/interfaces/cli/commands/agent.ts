import { loadAgentConfig } from '../../../config/agent.js';
import { runAgent } from '../../../agent/run.js';
import { RecoveryError } from '../../../domain/errors.js';
import { printLines } from '../output.js';
import type { CommonOptions, Define } from '../command.js';

interface AgentOptions extends CommonOptions {
  node?: string;
  keeper?: string;
  file: string;
}

export function addAgent(define: Define): void {
  define<AgentOptions>(
    'agent',
    'run the agent of this host: stops, starts and copies its one service for cold backups and restores',
    (command) =>
      command
        .option('--node <name>', 'ClickHouse node that runs on this host, as in recovery.yaml')
        .option('--keeper <name>', 'ZooKeeper server that runs on this host')
        .option('--file <agent.yaml>', 'what it may touch and run', 'agent.yaml'),
    async (context, options) => {
      const config = await loadAgentConfig(options.file);
      const [option, given] = options.node === undefined ? ['--keeper', options.keeper] : ['--node', options.node];
      const role = options.node === undefined ? 'keeper' : 'clickhouse';
      // Said twice, so that a file that was copied from another host is noticed before it stops the wrong service.
      if ((options.node === undefined) === (options.keeper === undefined))
        throw new RecoveryError('INPUT_INVALID', 'give either --node or --keeper', { field: 'node' });
      if (given !== config.name || role !== config.role)
        throw new RecoveryError(
          'CONFIG_INVALID',
          `${options.file} is for ${config.role === 'keeper' ? '--keeper' : '--node'} ${config.name}, not for ${option} ${given}`,
          { field: role === 'keeper' ? 'keeper' : 'node' },
        );
      await runAgent(config, (taskQueue) => printLines(context.streams, [`agent ready on task queue ${taskQueue}`]));
      return 0;
    },
  );
}
