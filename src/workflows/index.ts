export { recoverCluster } from './recover-cluster.js';
export { backupCluster } from './backup-cluster.js';
export { clusterLock } from './lock.js';
export { recoveryDrill } from './recovery-drill.js';
