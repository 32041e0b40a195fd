//! Typical mistakes, one small file each. The snapshots are what a user reads.

use crate::{read, rendered};

/// A snapshot of the problems of a text, under the name of the mistake.
macro_rules! mistakes {
    ($($name:ident: $text:expr;)*) => {$(
        #[test]
        fn $name() {
            let text = $text;
            insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true, description => text }, {
                insta::assert_snapshot!(stringify!($name), rendered(text, read(text)));
            });
        }
    )*};
}

mistakes! {
    units_that_contradict_themselves: "
flow: a
stages:
  list: { read: { files: { path: in/*.csv }, format: csv } }
  late:
    units: { time: { from: 2024-01-01, to: now, grace: 3d } }
    read: { files: { path: in/*.csv }, format: csv }
    write: { files: { path: out/late, format: parquet } }
  window:
    units: { time: { from: P30D, grace: 3d, partial: drop }, max: 3, min: 5 }
    read: { files: { path: in/*.csv }, format: csv }
    write: { files: { path: out/window, format: parquet } }
  steps:
    units:
      time:
        from: 2024-01-01
        to: 2025-01-01
        every: month
        then: [ { from: 2024-06-01, every: day }, { from: 2024-05-01, every: hour }, { from: 2026-01-01, every: day }, { from: P1D, every: day } ]
    read: { files: { path: in/*.csv }, format: csv }
    write: { files: { path: out/steps, format: parquet } }
  keys:
    units: { time: { from: 2024-01-01 }, key: { from: 5, to: 5, every: 2 }, cross: [ { values: [x], as: y } ] }
    read: { files: { path: in/*.csv }, format: csv }
    write: { files: { path: out/keys, format: parquet } }
  both:
    units: { key: { field: id, every: 5 } }
    read: { files: { path: 'in/{{ after }}{{ low }}.csv' }, format: csv }
    write: { files: { path: out/both, format: parquet } }
  versions:
    units:
      each: { rows_of: list, fields: [path, size], version: [size] }
      cross: [ { values: [a], as: path } ]
    read: { files: { path: 'in/{{ path }}' }, format: csv }
    write: { files: { path: out/versions, format: parquet } }
";
    unknown_key: "
flow: a
stages:
  orders:
    read: { files: { path: in/*.csv }, formt: csv, format: csv }
    write: { files: { path: out/, format: parquet } }
";
    unknown_key_of_the_root: "
flow: a
stage: {}
stages:
  orders:
    read: { files: { path: in/*.csv }, format: csv }
    write: { files: { path: out/, format: parquet } }
";
    key_one_level_too_deep: "
flow: a
connections: { api: { http: { base: https://api.example.com } } }
stages:
  orders:
    read:
      http:
        connection: api
        path: /orders
        rows_at: data
      format: json
    write: { files: { path: out/, format: parquet } }
";
    key_one_level_too_high: "
flow: a
connections: { api: { http: { base: https://api.example.com } } }
stages:
  orders:
    read:
      connection: api
      path: /orders
      format: json
    write: { files: { path: out/, format: parquet } }
";
    key_of_a_later_version: "
flow: a
stages:
  orders:
    read: { job: { submit: {} }, format: csv }
    validate: { rows: 5 }
    write: { copy: { path: out/ } }
";
    missing_keys: "
flow: a
stages:
  orders:
    read: { files: {} }
    write: { files: { path: out/ } }
";
    empty_file: "# nothing yet\n";
    root_is_a_list: "- flow: a\n- stages: {}\n";
    no_stages: "flow: a\nstages:\n";
    no_stage: "flow: a\nstages: {}\n";
    stages_left_out: "flow: a\n";
    wrong_types: "
flow: a
parallel: four
memory: 64
stages:
  orders:
    read: { files: [in/a.csv], format: csv, csv: { header: yes } }
    convert: { cast: { id: int64 } }
    retry: { attempts: 2.5, within: 30 }
    write: { files: { path: 2024, format: parquet, partition_by: country } }
";
    out_of_range: "
flow: a
parallel: 5000
stages:
  orders:
    read: { files: { path: a.csv }, format: csv }
    retry: { attempts: 0 }
    write: { files: { path: out/, format: parquet } }
";
    unknown_values: "
flow: a
stages:
  orders:
    units: { time: { from: 2024-01-01, every: months } }
    read: { files: { path: a.csv }, format: xml }
    publish: all
    write: { files: { path: out/, format: parket, compression: brotli } }
";
    unknown_kinds: "
flow: a
connections:
  api: { https: { base: https://api.example.com } }
  other: { http: { base: https://api.example.com, auth: { token: abc } } }
stages:
  orders:
    read: { files: { path: a.csv }, format: csv }
    convert: [ { rename: { a: b } } ]
    write: { file: { path: out/, format: parquet } }
";
    two_kinds: "
flow: a
connections:
  api: { http: { base: https://api.example.com, auth: { basic: { username: u }, bearer: { token: t } } } }
stages:
  orders:
    read: { files: { path: a.csv }, format: csv }
    convert: [ { cast: { id: int64 }, derive: { day: { from: time } } } ]
    write: { files: { path: out/, format: parquet } }
";
    bad_spellings: "
flow: a
memory: 64 mb
connections:
  api:
    http:
      base: https://api.example.com
      limit: { requests: 5 per second }
      timeout: { connect: 10, total: 2d }
      retry: { wait: 1m..1s }
stages:
  orders:
    units: { time: { from: 2024-01-01, grace: 3 } }
    read: { files: { path: a.csv }, format: csv, columns: { id: int65, price: 'decimal(50,2)' } }
    write: { files: { path: out/, format: parquet } }
";
    broken_yaml_indent: "
flow: a
stages:
  orders:
    read: { files: { path: a.csv }, format: csv }
   write: { files: { path: out/, format: parquet } }
";
    broken_yaml_quote: "
flow: \"a
stages: {}
";
    broken_yaml_tab: "flow: a\nstages:\n\torders:\n\t\tread: {}\n";
    broken_yaml_colon: "
flow: a
description: orders: all of them
stages: {}
";
    template_without_quotes: "
flow: a
connections: { api: { http: { base: https://api.example.com } } }
stages:
  orders:
    units: { each: { values: [1, 2], as: id } }
    read:
      http:
        connection: api
        path: {{ id }}
      format: json
    write: { files: { path: out/, format: parquet } }
";
    duplicate_key: "
flow: a
stages:
  orders:
    read: { files: { path: a.csv }, format: csv }
    write: { files: { path: out/, format: parquet } }
  orders:
    read: { files: { path: b.csv }, format: csv }
    write: { files: { path: out/, format: parquet } }
";
    second_document: "flow: a\nstages: {}\n---\nflow: b\nstages: {}\n";
    unknown_variables: "
flow: a
vars: { lake: ./lake, year: 2024 }
stages:
  orders:
    read: { files: { path: '${yaer}/*.csv' }, format: csv }
    write: { files: { path: '${lake}/${env:NOT_SET}/', format: parquet } }
  other:
    read: { files: { path: '${whatever' }, format: csv }
    write: { files: { path: '${lake}/other/', format: parquet } }
";
    variable_used_before_it_is_known: "
flow: a
vars: { path: '${lake}/a', lake: ./lake }
stages:
  orders:
    read: { files: { path: '*.csv' }, format: csv }
    write: { files: { path: '${path}', format: parquet } }
";
    variable_that_would_become_a_template: "
flow: a
vars: { open: '{', field: 'id }}{{ low', token: '${secret:TOKEN}' }
connections: { api: { http: { base: https://api.example.com, headers: { X-Token: '${token}' } } } }
stages:
  orders:
    units: { each: { values: [1, 2], as: id } }
    read:
      http: { connection: api, path: '/{${open} id }}', query: { a: '{{ ${field} }}' } }
      format: json
    write: { files: { path: out/, format: parquet } }
";
    secret_in_the_wrong_place: "
flow: a
connections: { api: { http: { base: 'https://user:hunter2@api.example.com' } } }
stages:
  orders:
    read: { http: { connection: api, path: '/${secret:TOKEN}/orders' }, format: json }
    write: { files: { path: 'out/{{ run.id }}', format: parquet } }
";
    bad_base_urls: "
flow: a
connections:
  a: { http: { base: api.example.com/v1 } }
  b: { http: { base: 'ftp://example.com' } }
  c: { http: { base: 'https://example.com/?key=1', headers: { 'X Key': a } } }
stages:
  orders:
    read: { http: { connection: a, path: 'https://other.example.com/orders' }, format: json }
    write: { files: { path: out/, format: parquet } }
  more:
    read: { http: { connection: b, path: '/orders?page={{ 1 if true else 2 }}' }, format: json }
    write: { files: { path: out2/, format: parquet } }
";
    unknown_connection: "
flow: a
connections: { shop: { http: { base: https://api.example.com } } }
stages:
  orders:
    read: { http: { connection: shpo, path: /orders }, format: json }
    write: { files: { path: out/, format: parquet } }
";
    two_sources_or_none: "
flow: a
connections: { api: { http: { base: https://api.example.com } } }
stages:
  both:
    read: { http: { connection: api, path: /orders }, files: { path: a.csv }, format: json }
    write: { files: { path: out/a, format: parquet } }
  none:
    read: { format: json }
    write: { files: { path: out/b, format: parquet } }
";
    patterns: "
flow: a
connections: { api: { http: { base: https://api.example.com } } }
stages:
  a:
    units: { each: { rows_of: b, fields: [id], where: { id: 'a)|(b', status: '', size: 5 } } }
    read: { http: { connection: api, path: /a, paginate: { cursor: { body: next, param: c, end: '(' } } }, format: json }
    write: { files: { path: out/a, format: parquet } }
  b:
    read: { http: { connection: api, path: /b }, format: json }
";
    partitions: "
flow: a
stages:
  kept:
    read: { files: { path: a.csv }, format: csv }
    convert: [{ project: { keep: [id, country], rename: { id: key } } }, { derive: { day: { value: '1' } } }]
    write: { files: { path: out/a, format: parquet, partition_by: [contry, id, day] } }
  declared:
    read: { files: { path: b.csv }, format: csv, columns: { id: int64, country: text }, other_columns: drop }
    convert: [{ project: { drop: [id] } }]
    write: { files: { path: out/b, format: parquet, partition_by: [country] } }
  open:
    read: { files: { path: c.csv }, format: csv, columns: { id: int64 } }
    write: { files: { path: out/c, format: parquet, partition_by: [whatever] } }
";
    each_of_an_unknown_stage: "
flow: a
stages:
  surveys:
    read: { files: { path: s.csv }, format: csv }
    write: { files: { path: out/s, format: parquet } }
  responses:
    units: { each: { rows_of: survey } }
    read: { files: { path: '{{ id }}.csv' }, format: csv }
    write: { files: { path: out/r, format: parquet } }
";
    each_mixed_up: "
flow: a
stages:
  a:
    units: { each: { values: [at, at, de], fields: [country] } }
    read: { files: { path: a.csv }, format: csv }
    write: { files: { path: out/a, format: parquet } }
  b:
    units: { each: { rows_of: a, values: [1], fields: [id] } }
    read: { files: { path: a.csv }, format: csv }
    write: { files: { path: out/b, format: parquet } }
  c:
    units: { each: {} }
    read: { files: { path: a.csv }, format: csv }
    write: { files: { path: out/c, format: parquet } }
  d:
    units: { each: { rows_of: a, fields: [id, run], as: x } }
    read: { files: { path: a.csv }, format: csv }
    write: { files: { path: out/d, format: parquet } }
  e:
    units: { each: { values: [1], as: my-id } }
    read: { files: { path: a.csv }, format: csv }
    write: { files: { path: out/e, format: parquet } }
";
    circle_of_stages: "
flow: a
stages:
  a:
    units: { each: { rows_of: c, fields: [id] } }
    read: { files: { path: a.csv }, format: csv }
  b:
    units: { each: { rows_of: a, fields: [id] } }
    read: { files: { path: a.csv }, format: csv }
  c:
    units: { each: { rows_of: b, fields: [id] } }
    read: { files: { path: a.csv }, format: csv }
  alone:
    units: { each: { rows_of: alone, fields: [id] } }
    read: { files: { path: a.csv }, format: csv }
";
    times_out_of_order: "
flow: a
stages:
  a:
    units: { time: { from: 2024-06-01, to: 2024-05-01, timezone: Europe/Viena } }
    read: { files: { path: a.csv }, format: csv }
    write: { files: { path: out/a, format: parquet } }
  b:
    units: { time: { from: '2024-01-01T00:00:00', to: tomorrow } }
    read: { files: { path: a.csv }, format: csv }
    write: { files: { path: out/b, format: parquet } }
  c:
    units: { time: { from: now, to: '2024-01-01[Europe/Vienna]' } }
    read: { files: { path: a.csv }, format: csv }
    write: { files: { path: out/c, format: parquet } }
";
    template_names: "
flow: a
connections: { api: { http: { base: https://api.example.com } } }
stages:
  surveys:
    read: { http: { connection: api, path: /surveys, query: { since: '{{ low | iso }}', page: '{{ page }}' } }, format: json }
  responses:
    units: { each: { rows_of: surveys, fields: [survey_id] } }
    read:
      http:
        connection: api
        method: POST
        path: /surveys/{{ surveyid }}
        json: { filter: [ { from: '{{ lo }}' } ], run: '{{ run.number }}' }
      format: json
    convert: [ { derive: { a: { value: '{{ cursor }}' } } } ]
    write: { files: { path: out/, format: parquet } }
";
    template_syntax: "
flow: a
connections: { api: { http: { base: https://api.example.com } } }
stages:
  orders:
    units: { time: { from: 2024-01-01 } }
    read: { http: { connection: api, path: '/orders/{{ low', query: { since: '{{ low | epoc }}' } }, format: json }
    write: { files: { path: out/, format: parquet } }
";
    paging_mixed_up: "
flow: a
connections: { api: { http: { base: https://api.example.com } } }
stages:
  a:
    read: { http: { connection: api, path: /a, paginate: { cursor: { body: meta.next, header: X-Next } } }, format: json }
    write: { files: { path: out/a, format: parquet } }
  b:
    read: { http: { connection: api, path: /b, paginate: { next: {} } }, format: json }
    write: { files: { path: out/b, format: parquet } }
  c:
    read: { http: { connection: api, path: /c, query: { offset: 0 }, paginate: { offset: { param: offset, size: 0 } } }, format: json }
    write: { files: { path: out/c, format: parquet } }
  d:
    read: { http: { connection: api, path: /d, query: { offset: 0 }, paginate: { offset: { param: offset, size: 10, end: { total: $.meta.total } } } }, format: json }
    write: { files: { path: out/d, format: parquet } }
  e:
    read: { http: { connection: api, path: /e, paginate: { page: { size_param: n, end: short } } }, format: json }
    write: { files: { path: out/e, format: parquet } }
  f:
    read: { http: { connection: api, path: /f, paginate: { cursor: { body: next, param: c } } }, format: csv }
    write: { files: { path: out/f, format: parquet } }
  g:
    read: { http: { connection: api, path: /g, paginate: { page: { param: page, end: total } } }, format: json }
    write: { files: { path: out/g, format: parquet } }
";
    bodies: "
flow: a
connections: { api: { http: { base: https://api.example.com } } }
stages:
  a:
    read: { http: { connection: api, path: /a, json: { q: 1 } }, format: json }
    write: { files: { path: out/a, format: parquet } }
  b:
    read: { http: { connection: api, path: /b, method: POST, json: { q: 1 }, form: { q: 1 }, content_type: [json] }, format: json }
    write: { files: { path: out/b, format: parquet } }
";
    format_options_of_another_format: "
flow: a
stages:
  a:
    read: { files: { path: a.csv }, format: csv, rows_at: data, csv: { delimiter: ';;', quote: '«' } }
    write: { files: { path: out/a, format: parquet } }
  b:
    read: { files: { path: a.json }, format: json, rows_at: '$.data.items[*]', csv: { delimiter: ';' } }
    write: { files: { path: out/b, format: parquet } }
  c:
    read: { files: { path: a.csv }, format: csv, other_columns: drop, csv: { delimiter: '\"' } }
    write: { files: { path: out/c, format: parquet } }
";
    conversions: "
flow: a
stages:
  a:
    read: { files: { path: a.csv }, format: csv }
    convert:
      - derive: { a: { value: x, from: y }, b: {}, c: { from: t, as: epoch }, d: { value: x, as: iso }, e: { from: t, as: '%Y-%K' } }
      - derive: { f: { from: t, timezone: Mars } }
      - project: { keep: [id, id, name], drop: [other], rename: { id: key, name: key, gone: x } }
      - cast: {}
    write: { files: { path: out/a, format: parquet } }
";
    writes: "
flow: a
stages:
  a:
    read: { files: { path: a.csv }, format: csv }
    write: { files: { path: s3://lake/a/, format: parquet } }
  b:
    read: { files: { path: https://example.com/b.csv }, format: csv }
    write: { files: { path: out/b, format: avro, compression: gzip, mode: replace, partition_by: [day, day] } }
  c:
    read: { files: { path: c.csv }, format: csv }
    write: { files: { path: ./out/b/, format: csv, compression: zstd } }
  d:
    read: { files: { path: d.csv }, format: csv }
    publish: all_units
    write: { files: { path: out, format: jsonl, mode: replace, file_size: 0B } }
";
    rows_that_go_nowhere: "
flow: a
stages:
  orders:
    read: { files: { path: a.csv }, format: csv }
";
    names_and_memory: "
flow: my flow
memory: 16MiB
connections: { 'api v1': { http: { base: https://api.example.com } } }
stages:
  2024/orders:
    read: { files: { path: a.csv }, format: csv }
    write: { files: { path: out/, format: parquet } }
";
    aliases_that_explode: "
a: &a [x, x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]
e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]
f: [*e, *e]
";
    problems_of_every_kind_at_once: "
flow: a
parallel: lots
connections:
  api: { http: { base: api.example.com, limt: { requests: 5/s } } }
  api: { http: { base: https://api.example.com } }
stages:
  surveys:
    read: { http: { connection: apx, path: /surveys }, format: jsn }
  responses:
    units: { each: { rows_of: survey, fields: [id] }, time: { from: 2024-13-01 } }
    read: { http: { connection: api, path: '/surveys/{{ ident }}' }, format: json }
    write: { files: { path: '${lake}/responses', format: parquet } }
  answers:
    units: { each: { rows_of: survey, fields: [id] }, time: { from: 2024-13-01 } }
    read: { http: { connection: apx, path: '/surveys/{{ ident }}' }, format: json }
    write: { files: { path: out/answers, format: parquet } }
";
}
