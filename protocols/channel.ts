import { ProtocolError } from './errors.ts'
import { FrameReader, FrameWriter, type ByteSink, type Frame } from './frame.ts'
import {
  decodeBody,
  encodeBody,
  messageBytesMax,
  messageName,
  messages,
  type MessageBody,
  type MessageHandlers,
  type MessageName,
} from './messages.ts'

/** Sends and receives typed messages over any byte stream. Knows no socket: whoever has one feeds `receive`. */
export class MessageChannel {
  readonly #reader = new FrameReader(messageBytesMax)
  readonly #writer: FrameWriter

  constructor(sink: ByteSink) {
    this.#writer = new FrameWriter(sink)
  }

  send<N extends MessageName>(name: N, body: MessageBody<N>): void {
    this.#writer.frame(messages[name].code, (writer) => encodeBody(writer, name, body))
  }

  /** Passes a received frame on; `leaseId`, if given, takes the place of the number that its body begins with. */
  forward(frame: Frame, leaseId?: number): void {
    this.#writer.forward(frame.whole, leaseId)
  }

  /** Writes what has been sent, without waiting for the end of the turn. */
  flush(): void {
    this.#writer.flush()
  }

  close(): void {
    this.#writer.close()
  }

  /** Takes bytes from the stream. Throws ProtocolError when they are not what the protocol allows. */
  receive(chunk: Buffer, onFrame: (name: MessageName, frame: Frame) => void): void {
    this.#reader.push(chunk, (frame) => {
      const name = messageName(frame.type)
      if (name === undefined) throw new ProtocolError(`unknown message type ${frame.type}`)
      onFrame(name, frame)
    })
  }
}

/** Decodes a frame and hands it to its handler. Throws ProtocolError when this side does not take such messages. */
export function dispatch(handlers: MessageHandlers, name: MessageName, frame: Frame): void {
  const handler = handlers[name] as ((body: unknown) => void) | undefined
  if (handler === undefined) throw new ProtocolError(`a ${name} message is not expected here`)
  handler(decodeBody(name, frame.body))
}
