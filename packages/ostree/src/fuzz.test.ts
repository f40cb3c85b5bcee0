import { firstReason, needsPeer, needsRoot, testFuzzTargets } from '@cambium/testkit';
import * as targets from './fuzz-targets.test.ts';

testFuzzTargets(targets, {
  skip: firstReason(needsPeer('ostree', 'gpg', 'gpgconf'), needsRoot()),
  executions: 300,
  perTarget: { 'delta-apply': 60, 'http-answers': 100, 'http-ranges': 100, 'sftp-answers': 25 },
});
