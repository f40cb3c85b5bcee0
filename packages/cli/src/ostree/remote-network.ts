/** `ostree remote refs` and `ostree remote summary`: what a remote says of itself. */
import { fetchRemoteSummary, formatRawSummary, formatSignatures, formatSummary, type RemoteSummary, type Repo, type TrustOptions } from '@cambium/ostree';
import { lookUp } from '../environment.ts';
import { proxyRule } from '../proxies.ts';
import { ostreeUserAgent } from '../version.ts';
import { signatureJson, summaryJson } from './json.ts';
import { printSummaryMetadata, type SummaryMetadataValues } from './summary-metadata.ts';
import { OstreeFailure, UsageError, type VerbContext } from './verb.ts';

interface RemoteNetworkFlags {
  'cache-dir': string | undefined;
}

/** Where keys are that no remote names. */
export function remoteTrustOptions({ environment }: VerbContext): TrustOptions {
  return { globalKeyrings: lookUp(environment, ['OSTREE_GPG_HOME']), allowDummy: lookUp(environment, ['OSTREE_DUMMY_SIGN_ENABLED']) === '1' };
}

export async function printRemoteRefs(
  context: VerbContext,
  repo: Repo,
  values: RemoteNetworkFlags & { revision: boolean },
  name: string | undefined,
): Promise<void> {
  const { remote, found } = await fetchSummary(context, repo, values, name);
  if (found === undefined) throw new OstreeFailure('Remote refs not available; server has no summary file');
  if (context.ui.json) context.ui.resultJsonList(found.summary.refs.map(({ ref, checksum }) => ({ ref, commit: checksum })));
  else for (const { ref, checksum } of found.summary.refs) context.ui.result(`${remote}:${ref}${values.revision ? `\t${checksum}` : ''}`);
}

export async function printRemoteSummary(
  context: VerbContext,
  repo: Repo,
  values: RemoteNetworkFlags & SummaryMetadataValues & { raw: boolean },
  name: string | undefined,
): Promise<void> {
  const { found } = await fetchSummary(context, repo, values, name);
  if (found === undefined) throw new OstreeFailure('Remote server has no summary file');
  if (context.ui.json) {
    context.ui.resultJson({ ...summaryJson(found.summary), signatures: found.signatures.map(signatureJson) });
    return;
  }
  if (printSummaryMetadata(context, found.summary, values)) return;
  context.ui.write(values.raw ? formatRawSummary(found.summary) : formatSummary(found.summary));
  const signatures = found.signatures.flatMap(({ gpg }) => gpg ?? []);
  if (values.raw || signatures.length === 0) return;
  context.ui.write(`\n${formatSignatures(signatures, Date.now() / 1000).replace(/^Found/, 'GPG: Verification enabled, found')}`);
}

async function fetchSummary(
  context: VerbContext,
  repo: Repo,
  values: RemoteNetworkFlags,
  remote: string | undefined,
): Promise<{ remote: string; found: RemoteSummary | undefined }> {
  if (remote === undefined) throw new UsageError('NAME must be specified');
  const userAgent = ostreeUserAgent(undefined);
  const options = { cacheDirectory: values['cache-dir'], userAgent, proxy: proxyRule(context.environment), trust: remoteTrustOptions(context) };
  return { remote, found: await fetchRemoteSummary(repo, remote, options, context.signal) };
}
