/** All commands there are. A command's module is loaded when the command is used, and not before. */
import type { Group } from './command.ts';

export const COMMAND_TREE: Group = {
  name: 'cambium',
  summary: 'Puts Linux applications and systems into content-addressed stores and onto machines',
  children: [
    { name: 'pack', summary: 'Put a Compose app, images included, into an OSTree repository', load: async () => (await import('./commands/pack.ts')).command },
    { name: 'mount', summary: 'Check out a packed app and register its images with podman', load: async () => (await import('./commands/mount.ts')).command },
    { name: 'unmount', summary: 'Remove a mounted app', load: async () => (await import('./commands/unmount.ts')).command },
    { name: 'clean', summary: 'Delete checkouts and layers that nothing uses any more', load: async () => (await import('./commands/clean.ts')).command },
    {
      name: 'compose',
      summary: 'Work with Compose projects',
      children: [
        { name: 'config', summary: 'Print the resolved model of a Compose project', load: async () => (await import('./commands/compose-config.ts')).command },
      ],
    },
    {
      name: 'ostree',
      summary: 'The ostree command, verb for verb and flag for flag',
      dialect: 'ostree',
      children: [
        { name: 'cat', summary: 'Concatenate contents of files', load: async () => (await import('./ostree/cat.ts')).command },
        { name: 'checkout', summary: 'Check out a commit into a filesystem tree', load: async () => (await import('./ostree/checkout.ts')).command },
        { name: 'checksum', summary: 'Checksum a file or directory', load: async () => (await import('./ostree/checksum.ts')).command },
        { name: 'commit', summary: 'Commit a new revision', load: async () => (await import('./ostree/commit.ts')).command },
        { name: 'config', summary: 'Change repo configuration settings', load: async () => (await import('./ostree/config.ts')).command },
        { name: 'create-usb', summary: 'Copy the refs to a USB stick', load: async () => (await import('./ostree/create-usb.ts')).command },
        { name: 'diff', summary: 'Compare directory TARGETDIR against revision REV', load: async () => (await import('./ostree/diff.ts')).command },
        { name: 'export', summary: 'Stream COMMIT to stdout in tar format', load: async () => (await import('./ostree/export.ts')).command },
        { name: 'find-remotes', summary: 'Find remotes to serve the given refs', load: async () => (await import('./ostree/find-remotes.ts')).command },
        { name: 'fsck', summary: 'Check the repository for consistency', load: async () => (await import('./ostree/fsck.ts')).command },
        { name: 'gpg-sign', summary: 'Sign a commit', load: async () => (await import('./ostree/gpg-sign.ts')).command },
        { name: 'init', summary: 'Initialize a new empty repository', load: async () => (await import('./ostree/init.ts')).command },
        { name: 'log', summary: 'Show log starting at commit or ref', load: async () => (await import('./ostree/log.ts')).command },
        { name: 'ls', summary: 'List file paths', load: async () => (await import('./ostree/ls.ts')).command },
        { name: 'prune', summary: 'Search for unreachable objects', load: async () => (await import('./ostree/prune.ts')).command },
        { name: 'pull', summary: 'Download data from remote repository', load: async () => (await import('./ostree/pull.ts')).command },
        { name: 'pull-local', summary: 'Copy data from SRC_REPO', load: async () => (await import('./ostree/pull-local.ts')).command },
        {
          name: 'push',
          summary: 'Publish commits, deltas and the summary to a directory or over SSH',
          load: async () => (await import('./ostree/push.ts')).command,
        },
        { name: 'refs', summary: 'List refs', load: async () => (await import('./ostree/refs.ts')).command },
        // Hidden until pull is here: add, delete, list and show-url work, the rest of libostree's subcommands and their own help are missing.
        {
          name: 'remote',
          summary: 'Remote commands that may involve internet access',
          hidden: true,
          load: async () => (await import('./ostree/remote.ts')).command,
        },
        { name: 'repair', summary: 'Heal missing and corrupt objects from other places', load: async () => (await import('./ostree/repair.ts')).command },
        { name: 'reset', summary: 'Reset a REF to a previous COMMIT', load: async () => (await import('./ostree/reset.ts')).command },
        { name: 'rev-parse', summary: 'Output the target of a rev', load: async () => (await import('./ostree/rev-parse.ts')).command },
        { name: 'serve', summary: 'Serve the repository over HTTP to those who pull from it', load: async () => (await import('./ostree/serve.ts')).command },
        { name: 'show', summary: 'Output a metadata object', load: async () => (await import('./ostree/show.ts')).command },
        { name: 'sign', summary: 'Sign a commit', load: async () => (await import('./ostree/sign.ts')).command },
        { name: 'static-delta', summary: 'Static delta related commands', load: async () => (await import('./ostree/static-delta.ts')).command },
        { name: 'summary', summary: 'Manage summary metadata', load: async () => (await import('./ostree/summary.ts')).command },
      ],
    },
    { name: 'size', summary: 'Say what an update moves, writes and needs at its peak', load: async () => (await import('./commands/size.ts')).command },
    { name: 'doctor', summary: 'Check what this machine has and lacks', load: async () => (await import('./commands/doctor.ts')).command },
    { name: 'completion', summary: 'Print a completion script for a shell', load: async () => (await import('./commands/completion.ts')).command },
    { name: 'help', summary: 'Tell about a command', load: async () => (await import('./commands/help.ts')).command },
  ],
};
