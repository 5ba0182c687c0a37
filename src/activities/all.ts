import type { Ports } from '../ports.js';
import { createColdActivities } from './cold/index.js';
import { withDrillViews } from './drill-view.js';
import { createDrillActivities } from './drills.js';
import { createActivities } from './index.js';

/** All activities of a worker: of recoveries, for the targets of drills too, of drills, and of the stop-the-world path. */
export function createAllActivities(ports: Ports) {
  const drills = withDrillViews(ports);
  return { ...createActivities(drills), ...createDrillActivities(drills), ...createColdActivities(ports) };
}
