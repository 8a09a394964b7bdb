-- Fills schema.sql. The size comes from a setting of the session: SET erp.scale = '10'.
-- The same scale gives the same rows on every server: what looks random is MD5 of a number.

CREATE FUNCTION pg_temp.scale() RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT current_setting('erp.scale')::integer
$$;

-- A number from 0 to `below` - 1 that depends on `seed` alone.
CREATE FUNCTION pg_temp.pick(seed text, below integer) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT (('x' || substr(md5(seed), 1, 7))::bit(28)::integer) % below
$$;

-- `pieces` times 16 bytes that no compressor shrinks.
CREATE FUNCTION pg_temp.noise(seed text, pieces integer) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT decode(string_agg(md5(seed || '/' || i), ''), 'hex') FROM generate_series(1, pieces) i
$$;

INSERT INTO erp.customers (id, external_id, name, email, tags, billing, profile, credit, created_at)
SELECT i,
       md5('customer ' || i)::uuid,
       (ARRAY['Anna', 'Bruno', 'Çelik', 'Dörte', 'Émile', 'Фёдор', '花子', 'O''Neill'])[1 + pg_temp.pick('first ' || i, 8)]
           || ' ' || initcap(substr(md5('last ' || i), 1, 7)),
       'customer' || i || '@Example.test',
       CASE pg_temp.pick('tags ' || i, 3) WHEN 0 THEN '{}' WHEN 1 THEN ARRAY['retail'] ELSE ARRAY['wholesale', 'net 30', 'a "b", c'] END,
       ROW(pg_temp.pick('house ' || i, 300) || ' High Street', 'Town ' || pg_temp.pick('town ' || i, 90), 'DE')::erp.address,
       jsonb_build_object('segment', pg_temp.pick('segment ' || i, 5), 'vip', i % 17 = 0, 'limits', jsonb_build_array(i % 100, NULL, 1.5)),
       (pg_temp.pick('credit ' || i, 1000000) / 100.0)::numeric(14, 2),
       timestamptz '2024-01-01 00:00:00+00' + make_interval(mins => i % 500000)
FROM generate_series(1, 200 * pg_temp.scale()) i;

INSERT INTO erp.products (sku, title, price, dimensions, thumbnail)
SELECT 'SKU-' || lpad(i::text, 6, '0'),
       'Product ' || substr(md5('title ' || i), 1, 8) || ' size ' || i % 9,
       (1 + pg_temp.pick('price ' || i, 5000000) / 10000.0)::numeric(12, 4),
       ARRAY[i % 50, i % 20 + 0.5, i % 7 + 0.25]::real[],
       CASE WHEN i % 5 = 0 THEN NULL ELSE pg_temp.noise('thumbnail ' || i, 24) END
FROM generate_series(1, 50 + 10 * pg_temp.scale()) i;

INSERT INTO erp.orders (id, customer_id, status, placed_at, deliver_by, note)
SELECT i,
       1 + pg_temp.pick('customer of ' || i, 200 * pg_temp.scale()),
       (enum_range(NULL::erp.order_status))[1 + pg_temp.pick('status ' || i, 5)],
       timestamptz '2025-01-01 00:00:00+00' + make_interval(secs => (i::bigint * 7919 % 31000000)::double precision),
       CASE WHEN i % 4 = 0 THEN NULL ELSE daterange(date '2025-01-01' + i % 360, date '2025-01-05' + i % 360) END,
       CASE WHEN i % 10 = 0 THEN 'please call before delivery' || chr(10) || 'tab' || chr(9) || 'backslash \ end' END
FROM generate_series(1, 2000 * pg_temp.scale()) i;

INSERT INTO erp.order_items (order_id, line, product_id, quantity, unit_price)
SELECT o, l,
       1000 + pg_temp.pick(o || ' product ' || l, 50 + 10 * pg_temp.scale()),
       1 + pg_temp.pick(o || ' quantity ' || l, 12),
       (1 + pg_temp.pick(o || ' price ' || l, 900000) / 10000.0)::numeric(12, 4)
FROM generate_series(1, 2000 * pg_temp.scale()) o, generate_series(1, 3) l
WHERE l = 1 OR (o + l) % 4 <> 0;

UPDATE erp.orders o SET total = i.total
FROM (SELECT order_id, sum(amount)::numeric(14, 2) AS total FROM erp.order_items GROUP BY order_id) i
WHERE i.order_id = o.id;

INSERT INTO audit.log (id, at, actor, action, before, after, origin)
SELECT i,
       timestamptz '2024-12-20 00:00:00+00' + make_interval(secs => (i::bigint * 104729 % 33000000)::double precision),
       'user' || pg_temp.pick('actor ' || i, 40),
       (ARRAY['insert', 'update', 'delete', 'login'])[1 + i % 4],
       CASE WHEN i % 4 IN (1, 2) THEN jsonb_build_object('total', i % 1000, 'status', 'placed') END,
       CASE WHEN i % 4 IN (0, 1) THEN jsonb_build_object('total', i % 997, 'status', 'paid', 'trace', md5('trace ' || i)) END,
       ('10.' || i % 200 || '.' || i % 251 || '.7')::inet
FROM generate_series(1, 4000 * pg_temp.scale()) i;

INSERT INTO erp.documents (id, customer_id, title, scan)
SELECT i, i, 'Contract ' || i, lo_from_bytea(0, pg_temp.noise('scan ' || i, 1000 + i % 400))
FROM generate_series(1, 10 + 2 * pg_temp.scale()) i;

INSERT INTO erp.bookings (room, during)
SELECT i % 10, tsrange(timestamp '2025-01-01' + make_interval(hours => i), timestamp '2025-01-01' + make_interval(hours => i + 1))
FROM generate_series(1, 100) i;

INSERT INTO erp."Odd ""names"" and types" VALUES
    (1, 'plain', B'101', '(1,2)', interval '1 mon 2 days 03:04:05.678', 0.1, '\x00ff5c0a', NULL),
    (2, '', B'', '(-0.5,1e30)', interval '-1 year', 'NaN', '\x', NULL),
    (3, E'\\.\n\\N\t', B'1', NULL, NULL, '-Infinity', '\x5c2e0a', NULL);

INSERT INTO erp.sessions SELECT md5('session ' || i), timestamptz '2025-06-01 00:00:00+00' FROM generate_series(1, 20) i;

SELECT setval('erp.invoice_number', 2025000001 + 7 * 40);
SELECT setval(pg_get_serial_sequence('erp.customers', 'id'), (SELECT max(id) FROM erp.customers));
SELECT setval(pg_get_serial_sequence('erp.orders', 'id'), (SELECT max(id) FROM erp.orders));
SELECT setval(pg_get_serial_sequence('erp.documents', 'id'), (SELECT max(id) FROM erp.documents));

REFRESH MATERIALIZED VIEW erp.revenue_by_month;
ANALYZE;
