/** The flags about SELinux labels. */
import { statSync } from 'node:fs';
import { readSelinuxPolicy, type SelinuxPolicy } from '@cambium/ostree';
import { OstreeFailure } from './verb.ts';

/** @param prefix what libostree says before the reason @throws what libostree says where there is no directory */
export async function readPolicyOf(directory: string, prefix = ''): Promise<SelinuxPolicy | undefined> {
  const found = directory === '' ? undefined : statSync(directory, { throwIfNoEntry: false });
  if (found?.isDirectory() !== true)
    throw new OstreeFailure(`${prefix}opendir(${directory}): ${found === undefined ? 'No such file or directory' : 'Not a directory'}`);
  return readSelinuxPolicy(directory);
}

/** Says what is wrong with the flags of a commit, before anything is read. */
export function checkLabelling(values: {
  'selinux-policy': string | undefined;
  'selinux-policy-from-base': boolean;
  'selinux-labeling-epoch': number | undefined;
}): void {
  if (values['selinux-policy'] !== undefined && values['selinux-policy-from-base']) {
    throw new OstreeFailure('Cannot specify both --selinux-policy and --selinux-policy-from-base');
  }
  const epoch = values['selinux-labeling-epoch'] ?? 0;
  if (epoch !== 0 && epoch !== 1) throw new OstreeFailure(`Unknown SELinux labeling epoch: ${epoch}`);
}
