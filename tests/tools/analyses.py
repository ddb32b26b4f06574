"""Queries of the kind that people who analyse data write, by the dialect; each gives rows on the shop's tables."""

BOTH = [
    ('SELECT c.name, COALESCE(SUM(o.amount), 0) AS s FROM customers c LEFT JOIN orders o ON o.customer_id '
     '= c.id AND o.id < 3 GROUP BY c.name ORDER BY s DESC'),
    'SELECT a.name, b.name FROM customers a JOIN customers b ON a.id < b.id ORDER BY 1, 2',
    'SELECT name FROM customers c WHERE (SELECT COUNT(*) FROM orders o WHERE o.customer_id = c.id) > 333',
    ('SELECT SUM(CASE WHEN customer_id = 1 THEN amount ELSE 0 END) AS a, SUM(CASE WHEN customer_id = 2 '
     'THEN 1 ELSE 0 END) AS b FROM orders'),
    ('SELECT name, NTILE(2) OVER (ORDER BY id), RANK() OVER (PARTITION BY city ORDER BY id), DENSE_RANK() '
     'OVER w FROM customers WINDOW w AS (ORDER BY name)'),
    ('SELECT * FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY amount DESC) AS rn '
     'FROM orders) t WHERE rn <= 2'),
    ('WITH m AS (SELECT customer_id, COUNT(*) AS n FROM orders GROUP BY customer_id), t AS (SELECT SUM(n) '
     'AS total FROM m) SELECT m.customer_id, ROUND(100.0 * m.n / t.total, 1) FROM m CROSS JOIN t ORDER BY '
     '1'),
    'SELECT COUNT(*) FILTER (WHERE note IS NOT NULL) FROM orders',
    'SELECT name FROM customers ORDER BY city NULLS LAST, name',
    'SELECT DISTINCT customer_id FROM orders INTERSECT SELECT id FROM customers ORDER BY 1',
    "SELECT NULLIF(city, 'Oslo'), ABS(-id), id % 2, id / 2.0 FROM customers ORDER BY id",
    "SELECT name FROM customers WHERE name LIKE 'A\\_%' ESCAPE '\\' OR LOWER(name) LIKE '%b'",
    ('SELECT customer_id, amount, SUM(amount) OVER (PARTITION BY customer_id ORDER BY day ROWS BETWEEN 6 '
     'PRECEDING AND CURRENT ROW) FROM orders LIMIT 3'),
    ('SELECT amount - LAG(amount, 1, 0) OVER (ORDER BY id), FIRST_VALUE(id) OVER (ORDER BY id) FROM '
     'orders LIMIT 2'),
    ('SELECT customer_id FROM orders GROUP BY customer_id HAVING SUM(amount) > (SELECT AVG(amount) FROM '
     'orders) ORDER BY 1'),
    "SELECT TRIM(name), name || ' ' || COALESCE(city, ''), MIN(id) OVER () FROM customers",
    "SELECT COUNT(*) FROM orders WHERE day >= '2026-06-01' AND day < '2026-07-01'",
    "SELECT COUNT(*) FROM orders WHERE CAST(day AS TEXT) LIKE '2026-06%'",
    ("SELECT id FROM orders WHERE customer_id IN (SELECT id FROM customers WHERE name = 'Ann') AND NOT "
     '(amount > 5) ORDER BY id'),
    'SELECT 1 AS "Total", \'x\' AS "odd "" name"',
    'SELECT orders.id FROM orders, customers WHERE orders.customer_id = customers.id LIMIT 1',
    'SELECT COUNT(*) AS n FROM orders o JOIN customers c USING (id)',
    'SELECT *, amount * 2 AS twice FROM orders WHERE id = 4',
    ('SELECT c.name AS name, q.total FROM customers c JOIN (SELECT customer_id, SUM(amount) total FROM '
     'orders GROUP BY 1) q ON q.customer_id = c.id ORDER BY q.total DESC LIMIT 1'),
    'SELECT CURRENT_DATE, CURRENT_TIMESTAMP',
    'SELECT amount > 3 AS big, COUNT(*) FROM orders GROUP BY amount > 3',
    "SELECT name FROM customers WHERE city IS NOT NULL UNION SELECT note FROM orders WHERE note = 'x'",
]  # fmt: skip
SQLITE = [
    ("SELECT STRFTIME('%Y', day) AS y, STRFTIME('%w', day), CAST(STRFTIME('%m', day) AS INTEGER) FROM "
     'orders LIMIT 1'),
    "SELECT COUNT(*) FROM orders WHERE day > DATE('now', '-300000 days', 'start of month')",
    'SELECT JULIANDAY(MAX(day)) - JULIANDAY(MIN(day)) FROM orders',
    ("SELECT note ->> '$.gift', note -> 'gift', JSON_EXTRACT(note, '$.gift') FROM orders WHERE note IS "
     'NOT NULL LIMIT 1'),
    ("SELECT SUBSTR(day, 1, 7), INSTR(name, 'n'), UNICODE(name), TOTAL(o.id), DATETIME(joined), "
     'TIME(joined), UNIXEPOCH(joined) FROM orders o JOIN customers c ON c.id=o.id GROUP BY name'),
    "SELECT GROUP_CONCAT(name, '; '), GROUP_CONCAT(DISTINCT city) FROM customers",
    "SELECT JSON_ARRAY_LENGTH('[1,2]'), JSON_TYPE('{}'), JSON_VALID('x')",
    ('SELECT ROUND(1.234, 2), 7 / 2, POWER(2, 3), SQRT(4), LN(1), CEIL(1.2), FLOOR(1.8), SIGN(-2), MAX(1, '
     '2), MIN(1, 2), IIF(1, 2, 3)'),
    "SELECT name FROM customers WHERE name GLOB 'A*' AND name NOT GLOB 'B*'",
    "SELECT IFNULL(NULL, 1), CAST(1.5 AS REAL), CAST('1' AS NUMERIC), 1 = 1, 1 <> 2, 1 == 1, NOT 1",
    ("SELECT CASE CAST(STRFTIME('%w', day) AS INTEGER) WHEN 0 THEN 'Sun' WHEN 1 THEN 'Mon' ELSE '?' END "
     'FROM orders LIMIT 1'),
    'SELECT ROUND(AVG(amount), 2) FROM orders FULL JOIN customers ON orders.customer_id = customers.id',
    'SELECT name COLLATE NOCASE FROM customers ORDER BY name COLLATE NOCASE',
    "SELECT DATE(day, 'weekday 0', '-6 days'), STRFTIME('%Y-W%W', day) FROM orders LIMIT 1",
    'SELECT column1 FROM (VALUES (1), (2)) AS x',
]  # fmt: skip
POSTGRES = [
    "SELECT EXTRACT(DOW FROM day), DATE_PART('month', day), DATE_TRUNC('week', day)::date FROM orders LIMIT 1",
    "SELECT COUNT(*) FROM orders WHERE day > CURRENT_DATE - INTERVAL '300 years'",
    "SELECT NOW() - INTERVAL '1 day', NOW()::date, LOCALTIMESTAMP",
    ('SELECT MAX(day) - MIN(day), AGE(MAX(day), MIN(day)), EXTRACT(EPOCH FROM (MAX(joined) - '
     'MIN(joined)))/86400 FROM orders, customers'),
    ("SELECT note::json -> 'gift', note::jsonb ->> 'gift', note::jsonb #>> '{gift}' FROM orders WHERE "
     'note IS NOT NULL LIMIT 1'),
    'SELECT COUNT(*) FROM orders WHERE note::jsonb @> \'{"gift": true}\'',
    "SELECT COUNT(*) FROM orders WHERE note::jsonb ? 'gift'",
    ('SELECT ROUND(AVG(amount)::numeric, 2), AVG(amount)::int, STDDEV(amount), VARIANCE(amount), CORR(id, '
     'amount) FROM orders'),
    'SELECT customer_id, SUM(amount) FROM orders GROUP BY ROLLUP (customer_id) ORDER BY 1',
    'SELECT customer_id, day, SUM(amount) FROM orders GROUP BY GROUPING SETS ((customer_id), (day)) LIMIT 1',
    "SELECT STRING_AGG(DISTINCT city, ', '), ARRAY_AGG(name ORDER BY id), BOOL_OR(id > 1) FROM customers",
    ('SELECT PERCENTILE_DISC(0.9) WITHIN GROUP (ORDER BY amount), MODE() WITHIN GROUP (ORDER BY '
     'customer_id) FROM orders'),
    "SELECT name FROM customers WHERE name ILIKE 'a%' OR name ~* '^b' OR name SIMILAR TO '(C|D)%'",
    'SELECT id FROM orders WHERE id = ANY(ARRAY[1, 2]) ORDER BY 1',
    ("SELECT SPLIT_PART('a-b', '-', 2), POSITION('b' IN 'ab'), STRPOS('ab', 'b'), LEFT('abc', 2), "
     "RIGHT('abc', 1), INITCAP('ab'), REVERSE('ab'), CONCAT('a', 1), CONCAT_WS('-', 'a', 'b')"),
    ("SELECT TO_CHAR(day, 'Mon YYYY'), TO_CHAR(amount, 'FM999,990.00'), TO_DATE('2026-01-02', "
     "'YYYY-MM-DD'), TO_TIMESTAMP(0) FROM orders LIMIT 1"),
    ('SELECT GREATEST(1, 2), LEAST(1, 2), CEIL(1.2), TRUNC(1.29, 1), MOD(7, 3), POWER(2, 3), LOG(100), '
     'LN(1), SQRT(4), 7 / 2, 7 % 2'),
    "SELECT joined AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Oslo' FROM customers LIMIT 1",
    "SELECT REGEXP_REPLACE(name, 'n', 'm') FROM customers LIMIT 1",
    "SELECT date '2026-01-01' + 7, timestamp '2026-01-01 10:00', make_date(2026, 1, 1), INTERVAL '1 month' * 2",
    ('SELECT EXTRACT(ISODOW FROM joined), EXTRACT(QUARTER FROM joined), EXTRACT(WEEK FROM joined) FROM '
     'customers LIMIT 1'),
    ('SELECT CUME_DIST() OVER (ORDER BY id), PERCENT_RANK() OVER (ORDER BY id), LAST_VALUE(id) OVER '
     '(ORDER BY id RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM customers'),
    'SELECT name COLLATE "C" FROM customers ORDER BY 1',
    "SELECT COUNT(*) FROM orders WHERE day BETWEEN DATE '2026-01-01' AND DATE '2026-12-31'",
    "SELECT jsonb_array_length('[1,2]'::jsonb), json_typeof('{}'::json), MD5('x')",
    'SELECT width_bucket(amount, 0, 250, 5) AS b, COUNT(*) FROM orders GROUP BY b ORDER BY b LIMIT 1',
    'SELECT id IS DISTINCT FROM 1, id IS NOT DISTINCT FROM 1 FROM customers LIMIT 1',
    'SELECT (amount / NULLIF(customer_id, 0))::numeric(10, 2) FROM orders LIMIT 1',
    "SELECT 'a'::varchar(10), '1'::bigint, 1::text, true::int, '12:00'::time, 1.5::real, 1::double precision",
    "SELECT DATE_TRUNC('month', day) + INTERVAL '1 month' - INTERVAL '1 day' FROM orders LIMIT 1",
    'SELECT COUNT(*) FROM public.orders',
    ("SELECT o.day, o.amount, AVG(o.amount) OVER (ORDER BY o.day RANGE BETWEEN INTERVAL '7 days' "
     'PRECEDING AND CURRENT ROW) FROM orders o LIMIT 1'),
    'SELECT x.n FROM (VALUES (1), (2)) AS x(n)',
    'SELECT t.count FROM (SELECT COUNT(*) FROM orders) t',
    'SELECT ARRAY[1] || ARRAY[2]',
]  # fmt: skip
