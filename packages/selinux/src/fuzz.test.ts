import { testFuzzTargets } from '@cambium/testkit';
import * as targets from './fuzz-targets.test.ts';

testFuzzTargets(targets, { executions: 1500 });
