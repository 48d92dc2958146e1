// What is in packaging/ is checked, and each check is shown to find something. PGCELL in the environment: the program.
'use strict';
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const { findings } = require('./containerfile.js');
const YAML = require('yaml');

const packaging = path.join(__dirname, '../../packaging');
const program = path.resolve(process.env.PGCELL ?? path.join(__dirname, '../../build/pgcell'));
const read = (name) => fs.readFileSync(path.join(packaging, name), 'utf8');

function inFolder(work) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgcell-packaging-'));
  try {
    return work(folder);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

test('Kubernetes manifests are valid, and broken ones are not', () => {
  const { check, schemaCount } = require('./manifests.js');
  const good = read('kubernetes/pgcell.yaml');
  assert.ok(schemaCount > 400, `${schemaCount} schemas`);
  assert.deepStrictEqual(check(good), []);
  for (const [from, to, expected] of [
    ['containerPort: 9187', 'containerPort: metrics', /containerPort must be integer/],
    ['readinessProbe:', 'readynessProbe:', /readynessProbe/],
    ['path: /readyz', 'paht: /readyz', /paht/],
    ['memory: 4Gi', 'memory: 4 Gi', /quantity/],
    ['  selector:\n    matchLabels:\n      app.kubernetes.io/name: pgcell\n', '', /selector/],
    ['kind: Deployment', 'kind: Deploiment', /Deploiment is not known/],
    ['        - name: pgcell\n          image', '        - image', /name/],
    ['apiVersion: apps/v1', 'apiVersion: apps/v9', /v9 Deployment is not known/],
    ['  name: pgcell-metrics', '  name: [', /./],
  ]) {
    const broken = good.replace(from, to);
    assert.notStrictEqual(broken, good, from);
    assert.match(check(broken).join('\n'), expected, from);
  }
});

test('the manifest configures what the program knows', () => {
  const [config, deployment, service] = YAML.parseAllDocuments(read('kubernetes/pgcell.yaml')).map((d) => d.toJS());
  const pod = deployment.spec.template.spec;
  const [container] = pod.containers;
  const settings = Object.fromEntries(
    config.data['pgcell.conf'].split('\n').filter(Boolean).map((line) => line.replace(/\s*#.*/, '').split(' = ')),
  );
  assert.strictEqual(settings['metrics-listen'].split(':')[1], String(container.ports[0].containerPort));
  assert.strictEqual(service.spec.ports[0].targetPort, container.ports[0].name);
  assert.deepStrictEqual(service.spec.selector, deployment.spec.template.metadata.labels);
  assert.ok(pod.terminationGracePeriodSeconds * 1000 > Number(settings['drain-timeout']) + 10000, 'no time to drain');
  for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe'])
    assert.strictEqual(container[probe].httpGet.port, container.ports[0].name);
  inFolder((folder) => {
    // a wrong image: the configuration was accepted, and then there was nothing to start
    const file = path.join(folder, 'pgcell.conf');
    fs.writeFileSync(file, config.data['pgcell.conf']);
    const run = (...more) => spawnSync(program, ['serve', '--config', file, '--image', '/none', ...more], { encoding: 'utf8' });
    const good = run();
    assert.strictEqual(good.status, 1, good.stderr);
    assert.match(good.stderr, /\/none/);
    fs.appendFileSync(file, 'nonsense = 1\n');
    assert.strictEqual(run().status, 2);
  });
});

test('the Containerfile has no findings, and a broken one has', () => {
  const good = read('Containerfile');
  assert.deepStrictEqual(findings(good), []);
  for (const [from, to] of [
    ['WORKDIR /src', 'WORKDIRR /src'],
    ['FROM docker.io', 'FORM docker.io'],
    ['EXPOSE 5432', 'EXPOSE port'],
    ['STOPSIGNAL SIGTERM', 'STOPSIGNAL'],
    ['COPY --from=build /src/build/pgcell /usr/bin/pgcell', 'COPY --form=build /src/build/pgcell /usr/bin/pgcell'],
  ]) {
    const broken = good.replace(from, to);
    assert.notStrictEqual(broken, good, from);
    assert.notDeepStrictEqual(findings(broken), [], to);
  }
  // what it copies is what the first stage makes
  const made = /make (.*)/.exec(good)[1].split(' ');
  for (const [, file] of good.matchAll(/^COPY --from=build \/src\/(\S+)/gm)) assert.ok(made.includes(file), file);
});

test('the units are valid, and broken ones are not', () => {
  const verify = (change = (text) => text) =>
    inFolder((folder) => {
      for (const name of ['pgcell.service', 'pgcell.socket'])
        fs.writeFileSync(path.join(folder, name), change(read(name)).replaceAll('/usr/bin/pgcell', program));
      const files = ['pgcell.service', 'pgcell.socket'].map((name) => path.join(folder, name));
      const run = spawnSync('systemd-analyze', ['verify', '--man=no', ...files], { encoding: 'utf8' });
      assert.ifError(run.error);
      return run.stdout + run.stderr + (run.status ? `exit status ${run.status}` : '');
    });
  assert.strictEqual(verify(), '');
  assert.match(verify((text) => text.replace('KillMode=', 'KilMode=')), /KilMode/);
  assert.match(verify((text) => text.replace('ListenStream=127.0.0.1:5432', 'ListenStream=nowhere at all')), /ListenStream|address/i);
  assert.match(verify((text) => text.replace('Type=notify', 'Type=telepathy')), /telepathy/);
});

test('the service is hardened', () => {
  const security = (text) =>
    inFolder((folder) => {
      const file = path.join(folder, 'pgcell.service');
      fs.writeFileSync(file, text);
      return spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', '--threshold=20', file]).status;
    });
  assert.strictEqual(security(read('pgcell.service')), 0);
  assert.notStrictEqual(security('[Service]\nExecStart=/bin/true\n'), 0, 'the check finds nothing');
});
