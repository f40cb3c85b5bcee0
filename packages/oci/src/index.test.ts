import assert from 'node:assert/strict';
import test from 'node:test';
import { output } from '@cambium/testkit';

test('loading the package does not load the HTTP client', async () => {
  const program = `
    import { createRequire } from 'node:module';
    const { createRegistryClient, parseImageReference } = await import(${JSON.stringify(new URL('./index.js', import.meta.url).href)});
    const loaded = () => Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes('undici')).length > 0;
    const client = createRegistryClient({ retry: { attempts: 1 } });
    const image = client.image(parseImageReference('127.0.0.1:1/x'));
    console.log(loaded());
    await image.manifest().catch((error) => console.log(error.code, loaded()));
    await client.close();
  `;
  assert.equal(
    await output(process.execPath, ['--input-type=module', '-e', program], { cwd: new URL('.', import.meta.url).pathname }),
    'false\nHTTP_UNREACHABLE true',
  );
});
