/** What the batched socket does at the edges of its turns, for lanes in threads. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, closeHouse, missing, openHouse, until } from './udp-house.ts';

const skip = missing('batch');

test('told to wait when starved, it drops nothing: the kernel keeps it', { skip }, async () => {
  const house = await openHouse('batch', { slotCount: 4 });
  const { socket } = house;
  const client = await Client.open();
  const held: number[] = [];
  let starved = 0;
  let turns = 0;
  socket.start(
    (slots, count) => {
      for (let i = 0; i < count; i++) held.push(slots[i]);
    },
    {
      waitsWhenStarved: true,
      onStarved: () => {
        starved++;
        // As a lane would: some turns later there are slots again.
        if (starved % 3 !== 0) return;
        const slots = Int32Array.from(held.splice(0));
        socket.send(slots, slots.length);
        socket.release(slots, slots.length);
      },
      onTurnEnd: () => {
        turns++;
      },
    },
  );
  for (let i = 0; i < 40; i++) client.send(`datagram ${i}`, socket.port, '127.0.0.1');
  await until(() => held.length + client.answers.length >= 40, '40 datagrams');
  const rest = Int32Array.from(held.splice(0));
  socket.send(rest, rest.length);
  socket.release(rest, rest.length);
  await client.answered(40);
  assert.ok(starved > 0 && turns > 0);
  assert.equal(house.sums().dropNoSlot, 0);
  assert.equal(house.sums().received, 40);
  client.close();
  await closeHouse(house);
});

test('told to rest after few, it answers all the same', { skip }, async () => {
  const house = await openHouse('batch');
  const { socket } = house;
  const client = await Client.open();
  socket.start(
    (slots, count) => {
      socket.send(slots, count);
      socket.release(slots, count);
    },
    { restsAfterFew: true },
  );
  for (let i = 0; i < 100; i++) client.send(`datagram ${i}`, socket.port, '127.0.0.1');
  await client.answered(100);
  client.close();
  await closeHouse(house);
});
