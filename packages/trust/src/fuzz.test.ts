import { needsPeer, testFuzzTargets } from '@cambium/testkit';
import * as targets from './fuzz-targets.test.ts';

testFuzzTargets(targets, { skip: needsPeer('gpg', 'gpgconf'), executions: 300, perTarget: { 'gpg-keyring': 8, 'gpg-signature': 6 } });
