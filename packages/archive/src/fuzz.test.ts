import { needsPeer, testFuzzTargets } from '@cambium/testkit';
import * as targets from './fuzz-targets.test.ts';

testFuzzTargets(targets, { skip: needsPeer('tar', 'cpio', 'find'), executions: 400, perTarget: { 'decompress-gzip': 60, 'decompress-zstd': 60 } });
