import { RecoveryError } from '../../domain/errors.js';
import type { ColdRepository } from '../../ports.js';

/** Nothing of it can be reached from a worker: agents have no port. */
export function createColdRepository(name: string): ColdRepository {
  const refuse = (): never => {
    throw new RecoveryError('INPUT_INVALID', `${name} holds cold copies: \`ch-recover cold backup\` makes them`, {
      field: 'to',
    });
  };
  return { name, kind: 'cold', destination: refuse, manifestDestination: refuse };
}
