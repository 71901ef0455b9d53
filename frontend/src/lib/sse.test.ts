import { expect, test } from 'vitest';
import { readEvents, type ServerEvent } from './sse';

async function read(...chunks: Uint8Array[]): Promise<ServerEvent[]> {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      chunks.forEach((chunk) => controller.enqueue(chunk));
      controller.close();
    },
  });
  const events: ServerEvent[] = [];
  for await (const event of readEvents(body)) {
    events.push(event);
  }
  return events;
}

const bytes = (text: string) => new TextEncoder().encode(text);

test('reads named events and skips comments', async () => {
  expect(await read(bytes(':\n\nevent:retrieved\ndata:{"a":1}\n\n: beat\nevent: done\ndata: {}\n\n'))).toEqual([
    { event: 'retrieved', data: '{"a":1}' },
    { event: 'done', data: '{}' },
  ]);
});

test('gives the same events wherever the network cuts the bytes', async () => {
  const whole = bytes('event:ranked\r\ndata:"Amélie"\r\ndata:2\r\n\r\ndata:x\r\n\r\n');
  const expected = [
    { event: 'ranked', data: '"Amélie"\n2' },
    { event: 'message', data: 'x' },
  ];
  for (let cut = 0; cut <= whole.length; cut++) {
    expect(await read(whole.slice(0, cut), whole.slice(cut))).toEqual(expected);
  }
});

test('drops an event that was cut off', async () => {
  expect(await read(bytes('data:1\n\ndata:2\n'))).toEqual([{ event: 'message', data: '1' }]);
});
