// Which callers count as one where a limit is by address.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { clientNetwork } from '../../src/platform/http/client-address.ts';

suite('clientNetwork', () => {
  test('is an IPv4 address as it stands, also where the socket shows it as IPv6', () => {
    for (const address of ['192.0.2.7', '::ffff:192.0.2.7', '::FFFF:192.0.2.7', '0:0:0:0:0:ffff:c000:207', '::ffff:c000:207'])
      assert.equal(clientNetwork(address), '192.0.2.7', address);
    assert.notEqual(clientNetwork('192.0.2.8'), clientNetwork('192.0.2.7'));
  });

  test('is the /64 of an IPv6 address, in any spelling', () => {
    for (const address of [
      '2001:db8:0:1::',
      '2001:db8:0:1::7',
      '2001:DB8:0:1:ffff:ffff:ffff:ffff',
      '2001:0db8:0000:0001:0:0:0:9',
      '2001:db8:0:1::192.0.2.7',
    ])
      assert.equal(clientNetwork(address), '2001:db8:0:1::/64', address);
    assert.equal(clientNetwork('2001:db8:0:2::7'), '2001:db8:0:2::/64');
    assert.equal(clientNetwork('::1'), '0:0:0:0::/64');
    assert.equal(clientNetwork('fe80::1%eth0'), 'fe80:0:0:0::/64');
  });

  test('is never an error: anything else counts as itself', () => {
    for (const address of ['', 'unknown', '1.2.3', '1.2.3.4.5', '[::1]', ':::']) assert.equal(clientNetwork(address), address);
  });
});
