// What one writes without a queue: the HTTP handler does all of it, in one transaction for each order, over a pool of ten.
//
// It keeps the promises that such a handler can keep: no oversell (a conditional update), one order for a key, history and
// outbox in the same commit. Answers 201 placed, 200 known key, 409 sold out. It says where it listens, and serves until
// it is killed.
'use strict'
const http = require('node:http')
const { Pool } = require('pg')

const POOL = 10
const SCHEMA = `
  drop schema if exists plain cascade;
  create schema plain;
  create table plain.articles (sku text primary key, on_hand bigint not null check (on_hand >= 0),
                               reserved bigint not null default 0);
  create table plain.orders (id bigint generated always as identity primary key, key text not null unique,
                             customer jsonb not null, sku text not null references plain.articles,
                             quantity int not null, status text not null, created_at timestamptz not null default now());
  create table plain.reservations (id bigint generated always as identity primary key,
                                   order_id bigint not null references plain.orders, sku text not null, quantity int not null);
  create table plain.events (id bigint generated always as identity primary key, order_id bigint not null,
                             type text not null, data jsonb not null, at timestamptz not null default now());
  create table plain.outbox (id bigint generated always as identity primary key, topic text not null,
                             payload jsonb not null, sent_at timestamptz);
  create index on plain.outbox (id) where sent_at is null;
  insert into plain.articles select 'SPREAD-' || lpad(n::text, 4, '0'), 1000000000 from generate_series(0, 999) n;
  insert into plain.articles values ('HOT-00-0000', 1000000000);`

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: POOL })
pool.on('error', () => {})

async function place (key, wish) {
  const { sku, quantity } = wish.lines[0]
  const db = await pool.connect()
  try {
    await db.query('begin')
    const made = await db.query(
      `insert into plain.orders (key, customer, sku, quantity, status) values ($1, $2, $3, $4, 'pending_payment')
       on conflict (key) do nothing returning id`, [key, wish.customer, sku, quantity])
    if (made.rowCount === 0) {
      const known = await db.query('select id from plain.orders where key = $1', [key])
      await db.query('commit')
      return [200, { order_id: known.rows[0].id }]
    }
    const id = made.rows[0].id
    const held = await db.query(
      `update plain.articles set on_hand = on_hand - $2, reserved = reserved + $2
        where sku = $1 and on_hand >= $2`, [sku, quantity])
    if (held.rowCount === 0) {
      await db.query('rollback')
      return [409, { error: 'insufficient_stock' }]
    }
    await db.query('insert into plain.reservations (order_id, sku, quantity) values ($1, $2, $3)', [id, sku, quantity])
    await db.query('insert into plain.events (order_id, type, data) values ($1, $2, $3)', [id, 'order.placed', { sku, quantity }])
    await db.query('insert into plain.outbox (topic, payload) values ($1, $2)', ['order.placed', { id }])
    await db.query('commit')
    return [201, { order_id: id, status: 'reserved' }]
  } catch (error) {
    await db.query('rollback').catch(() => {})
    throw error
  } finally {
    db.release()
  }
}

const server = http.createServer((request, response) => {
  let body = ''
  request.on('data', part => { body += part })
  request.on('end', async () => {
    let answer
    try {
      answer = await place(request.headers['idempotency-key'], JSON.parse(body))
    } catch (error) {
      answer = [500, { error: error.message }]
    }
    const text = JSON.stringify(answer[1])
    response.writeHead(answer[0], { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    response.end(text)
  })
})
server.keepAliveTimeout = 60_000

pool.query(SCHEMA).then(() => server.listen(0, '127.0.0.1', () => {
  console.error(`the plain handler listens at 127.0.0.1:${server.address().port}`)
}))
