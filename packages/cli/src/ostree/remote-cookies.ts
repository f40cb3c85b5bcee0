/** `ostree remote add-cookie`, `delete-cookie` and `list-cookies`: what is sent with requests to a remote's servers. */
import { appendCookie, formatCookies, readCookies, removeCookie } from '@cambium/ostree';
import { OstreeFailure, UsageError, type Verb } from './verb.ts';

export const addCookie: Verb = {
  summary: 'Add a cookie to remote',
  operands: ['NAME', 'DOMAIN', 'PATH', 'COOKIE_NAME', 'VALUE'].map((name) => ({ name, help: '' })),
  flags: {},
  examples: [
    { command: 'cambium ostree remote add-cookie --repo=./repo origin example.com / session s3cret', explains: 'Send a cookie with every request to a host' },
    {
      command: 'cambium ostree remote add-cookie --repo=./repo origin .example.com /repo session s3cret',
      explains: 'And to the hosts below it, for what is below a path',
    },
  ],
  async run(context, { operands: [remote, domain, path, name, value] }) {
    const repo = await context.openRepo();
    if (remote === undefined || domain === undefined || path === undefined || name === undefined || value === undefined) {
      throw new UsageError('NAME, DOMAIN, PATH, COOKIE_NAME and VALUE must be specified');
    }
    appendCookie(repo.path, remote, { domain, path, name, value });
    return undefined;
  },
};

export const deleteCookie: Verb = {
  summary: 'Remove one cookie from remote',
  operands: ['NAME', 'DOMAIN', 'PATH', 'COOKIE_NAME'].map((name) => ({ name, help: '' })),
  flags: {},
  examples: [{ command: 'cambium ostree remote delete-cookie --repo=./repo origin example.com / session', explains: 'Send it no more' }],
  async run(context, { operands: [remote, domain, path, name] }) {
    const repo = await context.openRepo();
    if (remote === undefined || domain === undefined || path === undefined || name === undefined) {
      throw new UsageError('NAME, DOMAIN, PATH and COOKIE_NAME must be specified');
    }
    if (!removeCookie(repo.path, remote, { domain, path, name })) throw new OstreeFailure('Cookie not found in jar');
    return undefined;
  },
};

export const listCookies: Verb = {
  summary: 'Show remote repository cookies',
  operands: [{ name: 'NAME', help: '' }],
  flags: {},
  examples: [{ command: 'cambium ostree remote list-cookies --repo=./repo origin', explains: 'Say what is sent' }],
  async run(context, { operands: [remote] }) {
    const repo = await context.openRepo();
    if (remote === undefined) throw new UsageError('NAME must be specified');
    context.ui.write(formatCookies(readCookies(repo.path, remote)));
    return undefined;
  },
};
