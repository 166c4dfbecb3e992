import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ByteReader, ByteWriter } from '../../../protocols/bytes.ts'
import { clip } from '../../../protocols/clip.ts'
import { shownText } from '../../../protocols/schema.ts'

test('a text that fits stays as it is', () => {
  for (const text of ['', 'abc', 'ü'.repeat(5), '漢漢漢a']) assert.equal(clip(text, 10), text)
})

test('a longer one is cut off between two characters', () => {
  assert.equal(clip('übermäßig', 8), 'über…')
  assert.equal(clip('漢'.repeat(5), 10), '漢漢…')
  assert.equal(clip('😀😀😀', 10), '😀…')
  assert.equal(clip('x'.repeat(2000), 10), 'xxxxxxx…')
})

test('whatever it is, it never takes more bytes, and stays valid', () => {
  const texts = ['aü漢😀'.repeat(50), '😀'.repeat(99), '\ud83d'.repeat(99), `a${'😀'.repeat(99)}`]
  for (const text of texts) {
    for (let bytesMax = 3; bytesMax < 120; bytesMax++) {
      const cut = clip(text, bytesMax)
      assert.ok(Buffer.byteLength(cut) <= bytesMax)
      assert.ok(cut.endsWith('…'))
      assert.ok(text.toWellFormed().startsWith(cut.slice(0, -1)))
    }
  }
})

test('no reader refuses a text for people', () => {
  const codec = shownText(16)
  for (const text of ['short', 'x'.repeat(17), '漢'.repeat(6), '😀'.repeat(1000)]) {
    const writer = new ByteWriter()
    codec.write(writer, text)
    assert.equal(codec.read(new ByteReader(writer.take())), clip(text, 16))
  }
})
