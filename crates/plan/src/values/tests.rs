//! Lists of values, in every order.

use dil_model::config::Scalar;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn each(fields: &[&str], filter: &[(&str, &str)]) -> Each {
    Each {
        rows_of: Some("surveys".into()),
        fields: fields.iter().map(ToString::to_string).collect(),
        filter: filter
            .iter()
            .map(|(field, pattern)| (field.to_string(), Pattern::parse(pattern).unwrap()))
            .collect(),
        ..Each::default()
    }
}

fn rows(rows: Value) -> Vec<EachRow> {
    serde_json::from_value(rows).unwrap()
}

fn values(each: &Each, rows: &[EachRow]) -> Result<Values> {
    let mut list = ValueList::new(each);
    rows.iter().try_for_each(|row| list.push(row))?;
    Values::new(vec![list], ValueList::backlog(None))
}

fn names(values: &Values) -> Vec<String> {
    (0..values.len()).map(|number| values.signature(number, None)).collect()
}

fn check(each: &Each, given: Value, expect: &[&str]) {
    assert_eq!(names(&values(each, &rows(given)).unwrap()), expect);
}

#[test]
fn equal_rows_are_one_unit_and_numbers_are_sorted_as_numbers() {
    check(
        &each(&["id"], &[]),
        json!([{ "id": 10, "n": "a" }, { "id": 2 }, { "id": 10, "n": "b" }]),
        &["id=2", "id=10"],
    );
    check(
        &each(&["a", "b"], &[]),
        json!([{ "b": "x", "a": 1 }, { "b": "y", "a": 1 }, { "a": 1, "b": "x" }]),
        &["a=1,b=x", "a=1,b=y"],
    );
}

#[test]
fn no_rows_make_no_units() {
    check(&each(&["id"], &[("status", "active")]), json!([]), &[]);
}

#[test]
fn a_condition_matches_the_whole_text_and_never_a_null() {
    let given = json!([
        { "id": 1, "status": "active" }, { "id": 2, "status": "inactive" }, { "id": 3, "status": null },
        { "id": 4, "status": "paused" }, { "id": 5 }, { "id": null, "status": "gone" }, { "id": 7, "status": "active\n" }
    ]);
    check(&each(&["id"], &[("status", "active|paused")]), given.clone(), &["id=1", "id=4"]);
    check(&each(&["id"], &[("id", "[12]"), ("status", ".*active")]), given, &["id=1", "id=2"]);
    check(
        &each(&["id"], &[("ok", "true")]),
        json!([{ "id": 1, "ok": true }, { "id": 2, "ok": false }]),
        &["id=1"],
    );
}

#[test]
fn says_which_field_has_no_value() {
    let error = |fields: &[&str], given: Value| values(&each(fields, &[]), &rows(given)).unwrap_err();
    let missing = error(&["idd"], json!([{ "id": 1, "name": "x" }]));
    assert_eq!(missing.message, "the rows of stage `surveys` have no field `idd` with a value");
    assert_eq!(missing.hint.as_deref(), Some("they have id, name"));
    let null = error(&["id"], json!([{ "id": 1 }, { "id": null }]));
    assert_eq!(null.message, "field `id` is null in a row of stage `surveys`, so it cannot name a unit");
    assert_eq!(error(&["id"], json!([{ "id": [1] }])).code, "plan/no-value");
}

fn literal(values: &[&str], name: &str) -> Each {
    let values = values.iter().map(|text| Scalar(text.to_string())).collect();
    Each { values, name: Some(name.into()), ..Each::default() }
}

#[test]
fn a_literal_list_is_texts() {
    let units = Units { each: Some(literal(&["us", "eu", "us"], "region")), ..Units::default() };
    assert_eq!(names(&Values::literal(Some(&units)).unwrap()), ["region=eu", "region=us"]);
}

#[test]
fn several_lists_are_combined() {
    let units = Units {
        each: Some(literal(&["b", "a"], "x")),
        cross: vec![literal(&["1", "2", "3"], "y"), literal(&["q"], "a")],
        ..Units::default()
    };
    let values = Values::literal(Some(&units)).unwrap();
    let expect = [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("b", "2"), ("b", "3")];
    assert_eq!(names(&values), expect.map(|(x, y)| format!("a=q,x={x},y=\"{y}\"")));
    assert_eq!(serde_json::to_value(values.row(4)).unwrap(), json!({ "x": "b", "y": "2", "a": "q" }));
    assert_eq!(values.text(4, "y").as_deref(), Some("2"));
    assert_eq!(values.text(4, "z"), None);
}

#[test]
fn an_empty_list_among_several_makes_no_combination() {
    let none = each(&["id"], &[]);
    let lists = vec![ValueList::new(&literal(&["a"], "x")), ValueList::new(&none)];
    assert!(Values::new(lists, ValueList::backlog(None)).unwrap().is_empty());
}

#[test]
fn the_backlog_adds_what_is_not_listed() {
    let units = Units {
        each: Some(literal(&["a", "b"], "x")),
        cross: vec![literal(&["1", "2"], "y")],
        ..Units::default()
    };
    let mut backlog = ValueList::backlog(Some(&units));
    for row in rows(
        json!([{ "x": "b", "y": "2" }, { "x": "c", "y": "1" }, { "x": "a", "y": "3" }, { "y": "1", "x": "c" }]),
    ) {
        backlog.push(&row).unwrap();
    }
    let lists = units.lists().map(ValueList::new).collect();
    let values = Values::new(lists, backlog).unwrap();
    let names = names(&values);
    assert_eq!(names[4..], ["x=a,y=\"3\"", "x=c,y=\"1\""]);
    assert!((0..4).all(|number| values.is_listed(number)) && !values.is_listed(4));
    assert_eq!(serde_json::to_value(values.row(5)).unwrap(), json!({ "x": "c", "y": "1" }));
}

#[test]
fn of_two_versions_the_newest_list_counts_and_then_the_greatest() {
    let each = Each { version: vec!["size".into(), "etag".into()], ..each(&["path"], &[]) };
    let mut list = ValueList::new(&each);
    let mut push = |given: Value| rows(given).iter().for_each(|row| list.push(row).unwrap());
    push(json!([{ "path": "a", "size": 9, "etag": "z" }, { "path": "b", "size": 1, "etag": null }]));
    list.next_generation();
    let mut push = |given: Value| rows(given).iter().for_each(|row| list.push(row).unwrap());
    push(json!([{ "path": "a", "size": 1, "etag": "x" }, { "path": "a", "size": 2, "etag": "x" }]));
    let values = Values::new(vec![list], ValueList::backlog(None)).unwrap();
    assert_eq!(names(&values), ["path=a", "path=b"]);
    assert_eq!(values.version(0).as_deref(), Some(r#"size=2,etag="x""#));
    assert_eq!(values.version(1).as_deref(), Some("size=1,etag=null"));
}

#[test]
fn a_million_rows_of_few_values_are_few() {
    let mut list = ValueList::new(&each(&["id"], &[]));
    for number in 0..1_000_000_u64 {
        list.push(&EachRow::from_iter([("id".to_owned(), json!(number % 100))])).unwrap();
    }
    assert!(list.arena.len() < 10 << 20);
    assert_eq!(Values::new(vec![list], ValueList::backlog(None)).unwrap().len(), 100);
}

proptest! {
    #[test]
    fn the_order_of_the_rows_does_not_matter(ids in prop::collection::vec((-4_i64..4, "[ab]{0,2}"), 0..12), seed in any::<u64>()) {
        let rows: Vec<EachRow> = ids.iter().map(|(a, b)| EachRow::from_iter([("a".to_owned(), json!(a)), ("b".to_owned(), json!(b))])).collect();
        let mut shuffled = rows.clone();
        let mut state = seed;
        for at in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(at, (state >> 33) as usize % (at + 1));
        }
        let each = each(&["b", "a"], &[("b", "a*")]);
        prop_assert_eq!(names(&values(&each, &rows).unwrap()), names(&values(&each, &shuffled).unwrap()));
    }
}
