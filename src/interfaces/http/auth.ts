import { createHash, timingSafeEqual } from 'node:crypto';
import { EVERY_CLUSTER, ROLES, type ApiToken, type Role } from '../../config/api.js';
import { RecoveryError } from '../../domain/errors.js';

export type Permission = 'read' | 'operate' | 'approve' | 'stop' | 'drill';

/** Who approves cannot start, who starts cannot approve, unless a token has both roles. Both may stop. */
const GRANTS: Record<Role, readonly Permission[]> = {
  viewer: ['read'],
  'drill-runner': ['read', 'drill'],
  operator: ['read', 'operate', 'stop', 'drill'],
  approver: ['read', 'approve', 'stop'],
};

/** Who asks: a token's name, what it may do, and the clusters that exist for it. */
export class Caller {
  constructor(
    readonly name: string,
    private readonly roles: readonly Role[],
    private readonly clusters: readonly string[],
  ) {}

  /** Null is a run whose input named no cluster. */
  sees(cluster: string | null): boolean {
    return this.clusters.includes(EVERY_CLUSTER) || (cluster !== null && this.clusters.includes(cluster));
  }

  /** Throws FORBIDDEN, with the roles that may. */
  mustBeAllowed(permission: Permission, what = 'this'): void {
    if (this.roles.some((role) => GRANTS[role].includes(permission))) return;
    throw new RecoveryError('FORBIDDEN', `${what} needs the role ${rolesWith(permission).join(' or ')}`);
  }
}

export function rolesWith(permission: Permission): Role[] {
  return ROLES.filter((role) => GRANTS[role].includes(permission));
}

export interface Credentials {
  authorization: string | undefined;
  host: string | undefined;
  origin: string | undefined;
}

/** Throws UNAUTHENTICATED. */
export type Authenticate = (credentials: Credentials) => Caller;

/** Compares hashes in constant time and looks at all of them, so that an answer's time says nothing. */
export function authenticateTokens(tokens: readonly ApiToken[]): Authenticate {
  const known = tokens.map(({ name, roles, clusters, sha256 }) => ({
    caller: new Caller(name, roles, clusters),
    hash: Buffer.from(sha256, 'hex'),
  }));
  return ({ authorization }) => {
    const token = /^Bearer +([\x21-\x7e]{1,512})$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) throw new RecoveryError('UNAUTHENTICATED', 'there is no bearer token');
    const hash = createHash('sha256').update(token, 'utf8').digest();
    const [found] = known.filter((each) => timingSafeEqual(each.hash, hash));
    if (!found) throw new RecoveryError('UNAUTHENTICATED', 'the token is not known');
    return found.caller;
  };
}

/** `--insecure`: whoever reaches the loopback address may do everything, but for pages in a browser on this machine. */
export function authenticateNobody(): Authenticate {
  const anybody = new Caller('anybody (--insecure)', ROLES, [EVERY_CLUSTER]);
  return ({ host, origin }) => {
    // A page may send here; it cannot hide its origin, nor, where its name was rebound to 127.0.0.1, that name.
    if (origin !== undefined || !isLoopback(hostname(host)))
      throw new RecoveryError('UNAUTHENTICATED', 'without tokens, only this machine may ask, and no web page');
    return anybody;
  };
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function hostname(host: string | undefined): string {
  return (host ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}
