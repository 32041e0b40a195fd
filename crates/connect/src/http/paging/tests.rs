use std::sync::Arc;

use dil_model::secret::{Secret, SecretStore};
use proptest::prelude::*;
use reqwest::header::HeaderValue;
use serde_json::json;

use super::*;

struct Fixed;
impl SecretStore for Fixed {
    fn secret(&self, _: &str) -> Result<Secret> {
        Ok(Secret::new("hush-hush"))
    }
}

fn secrets() -> KnownSecrets {
    let secrets = KnownSecrets::new(Arc::new(Fixed));
    secrets.secret("KEY").unwrap();
    secrets
}

fn pager(rule: Value) -> Pager {
    Pager::new(Some(serde_json::from_value(rule).unwrap()), None).unwrap()
}

fn facts(rows: u64, fields: Value) -> PageFacts {
    PageFacts { rows, fields: serde_json::from_value(fields).unwrap(), ..PageFacts::default() }
}

fn advance(pager: &mut Pager, facts: &PageFacts, header: Option<(&'static str, &str)>) -> Result<()> {
    let digest = pager.page_number();
    advance_to(pager, facts, header, digest)
}

fn advance_to(
    pager: &mut Pager,
    facts: &PageFacts,
    header: Option<(&'static str, &str)>,
    digest: u64,
) -> Result<()> {
    let mut headers = HeaderMap::new();
    if let Some((name, value)) = header {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    let base = Url::parse("https://api.example.com/v1").unwrap();
    let url = Url::parse("https://api.example.com/v1/items?page=1&key=hush-hush").unwrap();
    let answer = Answer { url, headers, digest };
    let around = Surroundings { base: &base, secrets: &secrets(), key_parameter: Some("key") };
    pager.advance(facts, &answer, &around)
}

fn refused(rule: Value, facts: &PageFacts, header: Option<(&'static str, &str)>) -> Error {
    let error = advance(&mut pager(rule), facts, header).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Paging);
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    error
}

/// Pages through `total` rows on a server that gives at most `cap` of them at once; gives the rows in order.
fn walk(rule: Value, total: u64, size: u64, cap: u64) -> Result<Vec<u64>> {
    let mut pager = pager(rule);
    let mut rows = Vec::new();
    while !pager.is_done() {
        let request = pager.request(&secrets())?;
        let number = |name: &str| {
            request
                .query
                .iter()
                .find(|(found, _)| found == name)
                .and_then(|(_, value)| value.parse::<u64>().ok())
        };
        let most = number("size").unwrap_or(size).min(cap);
        let from =
            number("offset").or(number("page").map(|page| page * most)).or(number("cursor")).unwrap_or(0);
        let page: Vec<u64> = (from..total.min(from + most)).collect();
        let after = from + page.len() as u64;
        let cursor = if after < total { json!(after) } else { Value::Null };
        let fields = json!({ "total": total, "pages": total.div_ceil(most.max(1)), "cursor": cursor });
        rows.extend(&page);
        advance(&mut pager, &facts(page.len() as u64, fields), None)?;
        pager = Pager::new(pager.rule.clone(), Some(pager.note()))?;
    }
    Ok(rows)
}

proptest! {
    #[test]
    fn every_style_reads_each_row_once_and_so_does_one_that_is_resumed(total in 0u64..60, size in 1u64..12, cap in 1u64..12) {
        let all: Vec<u64> = (0..total).collect();
        let offset = |end: Value| json!({ "offset": { "param": "offset", "size_param": "size", "size": size, "end": end } });
        let page = |end: Value| json!({ "page": { "param": "page", "size_param": "size", "size": size, "start": 0, "end": end } });
        // A server that gives fewer rows than asked for is no reason to lose any.
        prop_assert_eq!(walk(offset(json!("empty")), total, size, cap)?, all.clone());
        prop_assert_eq!(walk(offset(json!({ "total": "total" })), total, size, cap)?, all.clone());
        prop_assert_eq!(walk(json!({ "cursor": { "body": "cursor", "param": "cursor" } }), total, size, cap)?, all.clone());
        for end in [json!("empty"), json!("short"), json!({ "total": "total" }), json!({ "total_pages": "pages" })] {
            prop_assert_eq!(walk(page(end.clone()), total, size, size)?, all.clone());
            prop_assert_eq!(walk(offset(end), total, size, size)?, all.clone());
        }
    }
}

#[test]
fn a_total_ends_without_another_request() {
    let mut pager = pager(json!({ "offset": { "size": 2, "end": { "total": "t" } } }));
    advance(&mut pager, &facts(2, json!({ "t": "4" })), None).unwrap();
    assert!(!pager.is_done());
    advance(&mut pager, &facts(2, json!({ "t": 4.0 })), None).unwrap();
    assert!(pager.is_done());
}

#[test]
fn a_total_that_is_not_reached_is_an_error() {
    let rule = json!({ "page": { "end": { "total": "t" } } });
    let error = refused(rule, &facts(0, json!({ "t": 3 })), None);
    assert_eq!(error.message, "the paging ended after 0 rows, but `t` says there are 3");
}

#[test]
fn a_total_that_is_no_count_is_an_error() {
    for fields in [
        json!({}),
        json!({ "t": null }),
        json!({ "t": -1 }),
        json!({ "t": 1.5 }),
        json!({ "t": "many" }),
        json!({ "t": true }),
    ] {
        let error =
            refused(json!({ "offset": { "size": 2, "end": { "total": "t" } } }), &facts(2, fields), None);
        assert!(error.message.contains("`t`"), "{error}");
    }
}

/// The rules by which a next page may be missing, and what they name.
fn rules_with_a_place() -> [(Value, &'static str); 3] {
    [
        (json!({ "cursor": { "body": "c", "param": "c" } }), "`c`"),
        (json!({ "cursor": { "header": "X-Next", "param": "c" } }), "`X-Next`"),
        (json!({ "next": { "body": "c" } }), "`c`"),
    ]
}

#[test]
fn null_and_empty_cursors_end_the_paging() {
    for (rule, _) in rules_with_a_place() {
        for empty in [Value::Null, json!("")] {
            let mut pager = pager(rule.clone());
            advance(&mut pager, &facts(2, json!({ "c": empty })), Some(("x-next", ""))).unwrap();
            assert!(pager.is_done(), "{rule}");
        }
    }
}

#[test]
fn a_first_page_with_rows_and_no_place_for_the_next_one_is_an_error() {
    for (rule, place) in rules_with_a_place() {
        let mut facts = facts(2, json!({}));
        facts.absent.insert("c".to_owned(), "the document has d".to_owned());
        let error = refused(rule.clone(), &facts, None);
        assert_eq!(error.code, "http/cursor-missing");
        assert!(error.message.contains(place), "{error}");
        assert_eq!(error.message.ends_with("; the document has d"), place == "`c`", "{error}");
        assert!(error.hint.is_some_and(|hint| hint.contains("absent: end")));
    }
}

#[test]
fn an_absent_cursor_is_the_end_where_it_can_mean_nothing_else() {
    let ends = |pager: &mut Pager, rows| {
        advance(pager, &facts(rows, json!({})), None).unwrap();
        pager.is_done()
    };
    for (mut rule, _) in rules_with_a_place() {
        // A page without rows loses none.
        assert!(ends(&mut pager(rule.clone()), 0), "{rule}");
        // A later page.
        let mut later = pager(rule.clone());
        advance(&mut later, &facts(2, json!({ "c": "x" })), Some(("x-next", "x"))).unwrap();
        assert!(ends(&mut later, 2), "{rule}");
        // By declaration.
        for paging in rule.as_object_mut().unwrap().values_mut() {
            paging["absent"] = json!("end");
        }
        assert!(ends(&mut pager(rule.clone()), 2), "{rule}");
    }
    assert!(ends(&mut pager(json!({ "next": { "link": "next" } })), 2));
}

#[test]
fn equal_pages_are_refused_unless_the_flow_keeps_them() {
    let page = |pager: &mut Pager, digest| advance_to(pager, &facts(2, json!({})), None, digest);
    for style in ["offset", "page"] {
        let rule = |equal: &str| json!({ style: { "size": 2, "equal_pages": equal } });
        let mut strict = pager(rule("fail"));
        page(&mut strict, 7).unwrap();
        let error = page(&mut strict, 7).unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Paging, "http/page-repeated"));
        assert!(error.hint.is_some_and(|hint| hint.contains("equal_pages: keep")));
        let mut lenient = pager(rule("keep"));
        for _ in 0..3 {
            for _ in 0..EQUAL_PAGES_MAX {
                page(&mut lenient, 7).unwrap();
            }
            page(&mut lenient, 8).unwrap();
        }
        page(&mut lenient, 7).unwrap();
        let last = (0..2 * EQUAL_PAGES_MAX).find_map(|_| page(&mut lenient, 7).err());
        assert_eq!(last.map(|error| error.code).as_deref(), Some("http/page-repeated"));
    }
}

#[test]
fn a_declared_end_is_matched_whole() {
    let after = |cursor: &str| {
        let mut pager = pager(json!({ "cursor": { "header": "X-Next", "end": "null|0" } }));
        advance(&mut pager, &facts(2, json!({})), Some(("x-next", cursor))).unwrap();
        pager.is_done()
    };
    assert!(after("null") && after("0"));
    assert!(!after("10") && !after("nullx"));
}

#[test]
fn a_cursor_keeps_its_type_for_templates() {
    let mut pager = pager(json!({ "cursor": { "body": "c", "param": "after" } }));
    let mut variables = Variables::new();
    pager.bind(&mut variables);
    assert!(variables.is_empty() && pager.request(&secrets()).unwrap().query.is_empty());
    advance(&mut pager, &facts(2, json!({ "c": 17 })), None).unwrap();
    pager.bind(&mut variables);
    assert_eq!(variables["cursor"], json!(17));
    assert_eq!(pager.request(&secrets()).unwrap().query, [("after".to_owned(), "17".to_owned())]);
}

#[test]
fn a_cursor_that_comes_again_is_an_error() {
    let mut pager = pager(json!({ "cursor": { "body": "c", "param": "c" } }));
    for cursor in ["a", "b", "d"] {
        advance(&mut pager, &facts(1, json!({ "c": cursor })), None).unwrap();
    }
    let error = advance(&mut pager, &facts(1, json!({ "c": "b" })), None).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Paging, "http/cursor-repeated"));
    assert!(error.message.contains("`b`"), "{error}");
}

#[test]
fn a_cursor_that_is_neither_text_nor_number_is_an_error() {
    refused(json!({ "cursor": { "body": "c" } }), &facts(1, json!({ "c": true })), None);
}

#[test]
fn next_urls_are_resolved_and_kept_without_credentials() {
    let mut pager = pager(json!({ "next": { "body": "n" } }));
    advance(&mut pager, &facts(1, json!({ "n": "/v1/items?page=2&key=hush-hush&t=hush-hush#x" })), None)
        .unwrap();
    assert!(!pager.note().to_string().contains("hush"), "{}", pager.note());
    let url = pager.request(&secrets()).unwrap().url.unwrap();
    assert_eq!(url.as_str(), "https://api.example.com/v1/items?page=2&t=hush-hush");
}

#[test]
fn a_next_url_elsewhere_is_an_error() {
    for url in [
        "https://evil.example.com/v1",
        "http://api.example.com/v1",
        "https://api.example.com:8443/v1",
        "//other/x",
    ] {
        let error = refused(json!({ "next": { "body": "n" } }), &facts(1, json!({ "n": url })), None);
        assert_eq!(error.code, "http/next-elsewhere", "{url}");
    }
}

#[test]
fn a_next_url_that_comes_again_is_an_error() {
    let first = "https://api.example.com/v1/items?page=1";
    let error = refused(json!({ "next": { "body": "n" } }), &facts(1, json!({ "n": first })), None);
    assert_eq!(error.code, "http/cursor-repeated");
}

#[test]
fn a_link_header_that_cannot_be_read_is_not_an_end() {
    let rule = json!({ "next": { "link": "next" } });
    let error = refused(
        rule.clone(),
        &facts(1, json!({})),
        Some(("link", "https://api.example.com/hush-hush; rel=next")),
    );
    assert_eq!(error.code, "http/link");
    let mut pager = pager(rule);
    advance(&mut pager, &facts(1, json!({})), Some(("link", "<?page=2>; rel=\"next\""))).unwrap();
    assert_eq!(pager.request(&secrets()).unwrap().url.unwrap().query(), Some("page=2"));
}

#[test]
fn a_note_of_another_rule_is_refused() {
    let note = pager(json!({ "offset": { "size": 2 } })).note();
    let rule = serde_json::from_value(json!({ "cursor": { "body": "c" } })).unwrap();
    let refused = Pager::new(Some(rule), Some(note)).map(|_| ()).unwrap_err();
    assert_eq!((refused.kind, refused.code.as_str()), (ErrorKind::Paging, "http/position"));
}

#[test]
fn a_rule_that_cannot_work_is_refused() {
    for rule in [
        json!({ "cursor": {} }),
        json!({ "cursor": { "body": "a", "header": "b" } }),
        json!({ "next": {} }),
        json!({ "page": { "end": "short" } }),
    ] {
        let refused = Pager::new(Some(serde_json::from_value(rule).unwrap()), None).map(|_| ()).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Config);
    }
}
