import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProtocolError } from '../../../protocols/errors.ts'
import { checkBundles } from '../../../protocols/placement-groups.ts'
import { groupText, OwnGroup } from '../../../sdk/api/own-group.ts'
import { PlacementGroup } from '../../../sdk/api/placement-group.ts'
import { leaseTerms } from '../../../sdk/tasks/lease-terms.ts'

const id = 'a'.repeat(44)
const groupOf = (bundles: unknown): PlacementGroup =>
  new PlacementGroup(id, { name: 'g', strategy: 'SPREAD', bundles: checkBundles(bundles) })

test('a task is told of its group in few words, and has all of it', () => {
  const bundles = [...Array.from({ length: 990 }, () => ({ CPU: 1, labels: { zone: 'lab1' } })), { GPU: 1 }, { CPU: 1 }]
  const group = groupOf(bundles)
  const text = groupText(group, true)
  assert.ok(text.length < 400, text)
  const own = new OwnGroup(text)
  assert.deepEqual(own.group, group)
  assert.ok(own.captures && !new OwnGroup(groupText(group, false)).captures)
})

test('what is started in it gets terms of the group, the same for the same', () => {
  const own = new OwnGroup(groupText(groupOf([{ CPU: 2 }]), true))
  const terms = leaseTerms({ CPU: 1 }, { A: 'b' }, { kind: 'spread' }, false)
  const { strategy, envVars, isRetriable, group } = own.termsFor(terms)
  assert.deepEqual([strategy, envVars, isRetriable], [{ kind: 'group', group: id, bundle: 'any' }, { A: 'b' }, false])
  assert.ok(new OwnGroup(group).captures)
  assert.equal(own.termsFor(terms), own.termsFor(terms))
  assert.throws(
    () => own.termsFor(leaseTerms({ CPU: 3 }, {})),
    /fits no bundle .* placementGroup: null lets it run outside/,
  )
})

test('a text that describes no group is refused', () => {
  for (const text of ['', '{', '[]', 'null', '[true,1]', '[true,"a","b","PACK",[[1e9,{}]]]'])
    assert.throws(() => new OwnGroup(text), ProtocolError)
})
