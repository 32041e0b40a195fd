//! Every pair of types that goes together, and what does not fit.

use dil_model::arrow::array::{Float64Array, Int64Array};
use proptest::prelude::*;

use super::*;

fn column_type(spelt: &str) -> ColumnType {
    ColumnType::parse(spelt).unwrap()
}

/// A column of `spelt`, made of texts by way of the casts from text.
fn column(spelt: &str, values: &[Option<&str>]) -> ArrayRef {
    let texts: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
    match spelt {
        "null" => new_null_array(&DataType::Null, values.len()),
        "binary" => Arc::new(BinaryArray::from_iter(values.iter().map(|value| value.map(str::as_bytes)))),
        _ => cast(&texts, &column_type(spelt))
            .unwrap_or_else(|failure| panic!("{spelt} {values:?}: {failure:?}")),
    }
}

/// Casts the one value, with a null before it, and spells it again; `None` if it does not fit.
fn one(from: &str, value: &str, to: &str) -> Option<String> {
    match cast(&column(from, &[None, Some(value)]), &column_type(to)) {
        Ok(made) => {
            assert_eq!(made.data_type(), column_type(to).arrow());
            assert!(made.is_null(0) && made.len() == 2, "{from} {value} to {to}");
            Some(show(&made, 1))
        }
        Err(Failure::Misfit { row, wanted }) => {
            assert_eq!((row, wanted.as_str()), (1, to));
            None
        }
        Err(cannot) => panic!("{from} to {to}: {cannot:?}"),
    }
}

fn check(from: &str, to: &str, pairs: &[(&str, Option<&str>)]) {
    for (value, expect) in pairs {
        assert_eq!(one(from, value, to).as_deref(), *expect, "{from} {value} to {to}");
    }
}

#[test]
fn texts_become_numbers_if_they_are_spelt_like_one() {
    check(
        "text",
        "int32",
        &[("7", Some("7")), ("-2147483648", Some("-2147483648")), ("2147483648", None), ("", None)],
    );
    check(
        "text",
        "int64",
        &[("007", Some("7")), ("1.0", None), (" 1", None), ("1e3", None), ("9223372036854775808", None)],
    );
    check(
        "text",
        "float64",
        &[
            ("1.50", Some("1.5")),
            ("1e3", Some("1000.0")),
            ("NaN", Some("NaN")),
            ("1e999", None),
            ("1,5", None),
        ],
    );
    check("text", "float32", &[("0.1", Some("0.1")), ("1e39", None), ("-inf", Some("-inf"))]);
    check(
        "text",
        "decimal(5,2)",
        &[
            ("1.5", Some("1.50")),
            ("-999.99", Some("-999.99")),
            ("1000", None),
            ("1.005", None),
            ("1.500", Some("1.50")),
        ],
    );
}

#[test]
fn texts_become_bools_and_times_if_they_are_spelt_like_one() {
    check("text", "bool", &[("true", Some("true")), ("False", Some("false")), ("1", None), ("yes", None)]);
    check(
        "text",
        "date",
        &[
            ("2024-02-29", Some("2024-02-29")),
            ("2023-02-29", None),
            ("2024-2-9", None),
            ("2024-02-29T00:00:00", None),
            ("20240229", None),
        ],
    );
    check(
        "text",
        "timestamp",
        &[
            ("2024-01-01T00:00:00Z", Some("2024-01-01T00:00:00Z")),
            ("2024-01-01T06:00:00.123456+05:45", Some("2024-01-01T00:15:00.123456Z")),
            ("2024-01-01T00:00:00.000+0000", Some("2024-01-01T00:00:00Z")),
            ("1969-12-31T23:59:59.9999999Z", Some("1969-12-31T23:59:59.999999Z")),
            ("2024-01-01T00:00:00", None),
            ("2024-01-01", None),
            ("2024-01-01T00:00:00+00:00[Europe/Vienna]", None),
        ],
    );
    check(
        "text",
        "local_timestamp",
        &[
            ("2024-01-01T06:00:00", Some("2024-01-01T06:00:00")),
            ("2024-01-01", Some("2024-01-01T00:00:00")),
            ("2024-01-01T06:00:00Z", None),
            ("2024-01-01T06:00:00+02:00", None),
        ],
    );
    check("text", "json", &[("{\"a\": 1}", Some("{\"a\": 1}")), ("abc", None), ("", None)]);
    check("text", "binary", &[("é", Some("é"))]);
    check("text", "text", &[("x", Some("x"))]);
}

#[test]
fn numbers_change_only_if_nothing_is_lost() {
    check("int32", "int64", &[("-7", Some("-7"))]);
    check("int64", "int32", &[("7", Some("7")), ("2147483648", None)]);
    check(
        "int64",
        "float64",
        &[
            ("9007199254740992", Some("9007199254740992.0")),
            ("9007199254740993", None),
            ("-9007199254740994", None),
        ],
    );
    check("int64", "float32", &[("16777216", Some("16777216.0")), ("16777217", None)]);
    check("int64", "decimal(4,1)", &[("999", Some("999.0")), ("1000", None)]);
    check("int64", "bool", &[("1", Some("true")), ("0", Some("false")), ("2", None)]);
    check(
        "float64",
        "int64",
        &[
            ("7.0", Some("7")),
            ("7.5", None),
            ("NaN", None),
            ("1e19", None),
            ("-9223372036854775808", Some("-9223372036854775808")),
        ],
    );
    check("float64", "int32", &[("7", Some("7")), ("3e9", None)]);
    check("float64", "float32", &[("0.1", Some("0.1")), ("1e300", None), ("inf", Some("inf"))]);
    check(
        "float64",
        "decimal(6,2)",
        &[("12.3", Some("12.30")), ("12.345", None), ("1e5", None), ("NaN", None)],
    );
    check("float32", "float64", &[("0.5", Some("0.5")), ("0.1", Some("0.10000000149011612"))]);
    check("float32", "int64", &[("3e10", Some("30000001024"))]);
    check("float32", "decimal(6,2)", &[("0.1", Some("0.10"))]);
    check("bool", "int32", &[("true", Some("1"))]);
    check("bool", "int64", &[("false", Some("0"))]);
}

#[test]
fn decimals_change_only_if_no_digit_is_lost() {
    check("decimal(6,2)", "int64", &[("12.00", Some("12")), ("12.50", None)]);
    check("decimal(20,0)", "int32", &[("12", Some("12")), ("3000000000", None)]);
    check("decimal(6,2)", "float64", &[("12.30", Some("12.3"))]);
    check("decimal(6,2)", "float32", &[("-0.10", Some("-0.1"))]);
    check("decimal(6,2)", "decimal(8,4)", &[("-12.34", Some("-12.3400"))]);
    check("decimal(6,2)", "decimal(3,1)", &[("12.30", Some("12.3")), ("12.34", None), ("123.40", None)]);
}

#[test]
fn times_become_dates_and_back_in_utc() {
    check(
        "timestamp",
        "date",
        &[("2024-01-31T23:59:59Z", Some("2024-01-31")), ("1969-12-31T23:59:59Z", Some("1969-12-31"))],
    );
    check("local_timestamp", "date", &[("2024-01-31T23:59:59", Some("2024-01-31"))]);
    check("date", "timestamp", &[("2024-01-31", Some("2024-01-31T00:00:00Z"))]);
    check("date", "local_timestamp", &[("1969-12-31", Some("1969-12-31T00:00:00"))]);
}

#[test]
fn every_scalar_becomes_text_and_json() {
    for (from, value, text, json) in [
        ("bool", "true", "true", "true"),
        ("int32", "-7", "-7", "-7"),
        ("int64", "7", "7", "7"),
        ("float32", "0.1", "0.1", "0.1"),
        ("float64", "1e300", "1e300", "1e+300"),
        ("decimal(6,2)", "12.3", "12.30", "\"12.30\""),
        ("date", "2024-01-31", "2024-01-31", "\"2024-01-31\""),
        ("timestamp", "2024-01-31T06:00:00.5Z", "2024-01-31T06:00:00.5Z", "\"2024-01-31T06:00:00.5Z\""),
        ("local_timestamp", "2024-01-31T06:00:00", "2024-01-31T06:00:00", "\"2024-01-31T06:00:00\""),
        ("binary", "é", "é", "\"é\""),
    ] {
        check(from, "text", &[(value, Some(text))]);
        check(from, "json", &[(value, Some(json))]);
    }
    check("float64", "json", &[("NaN", None)]);
    let broken: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"a", &[0xff]]));
    assert_eq!(cast(&broken, &column_type("text")), Err(Failure::Misfit { row: 1, wanted: "text".into() }));
}

#[test]
fn nulls_fit_every_type() {
    for spelt in [
        "bool",
        "int32",
        "text",
        "json",
        "date",
        "timestamp",
        "decimal(5,2)",
        "binary",
        "list<text>",
        "struct<a: int64>",
    ] {
        let made = cast(&column("null", &[None, None]), &column_type(spelt)).unwrap();
        assert_eq!((made.data_type(), made.null_count()), (column_type(spelt).arrow(), 2), "{spelt}");
    }
}

fn lists() -> ArrayRef {
    let values: ArrayRef = Arc::new(StringArray::from(vec!["not owned", "1", "2", "x", "3"]));
    let offsets = dil_model::arrow::buffer::OffsetBuffer::new(vec![1, 3, 3, 4, 5].into());
    Arc::new(ListArray::new(Arc::new(Field::new("item", DataType::Utf8, true)), offsets, values, None))
}

#[test]
fn lists_are_cast_item_by_item_and_a_misfit_has_its_rows_number() {
    let wanted = column_type("list<int64>");
    assert_eq!(cast(&lists(), &wanted), Err(Failure::Misfit { row: 2, wanted: "int64".into() }));
    let good = cast(&lists().slice(0, 2), &wanted).unwrap();
    assert_eq!(
        (good.data_type(), show(&good, 0).as_str(), show(&good, 1).as_str()),
        (wanted.arrow(), "[1,2]", "[]")
    );
    let error = cast(&lists(), &wanted).unwrap_err().tell("tags", None, &lists(), Some(1_005));
    assert_eq!(error.to_string(), "column `tags`: `[\"x\"]` does not fit int64, row 1007");
}

#[test]
fn structs_are_cast_member_by_member_and_by_name() {
    let members = vec![
        (Arc::new(Field::new("a", DataType::Utf8, true)), Arc::new(StringArray::from(vec!["1"])) as ArrayRef),
        (Arc::new(Field::new("b", DataType::Int64, true)), Arc::new(Int64Array::from(vec![2])) as ArrayRef),
    ];
    let array: ArrayRef = Arc::new(StructArray::from(members));
    let made = cast(&array, &column_type("struct<b: text, a: int64>")).unwrap();
    assert_eq!(show(&made, 0), r#"{"b":"2","a":1}"#);
    assert_eq!(show(&cast(&array, &column_type("json")).unwrap(), 0), r#"{"a":"1","b":2}"#);
    let hint = |spelt: &str| match cast(&array, &column_type(spelt)) {
        Err(Failure::Cannot { hint, .. }) => hint,
        other => panic!("{other:?}"),
    };
    assert_eq!(hint("struct<a: int64>"), "name member `b` in the type too");
    assert_eq!(hint("struct<a: int64, b: int64, c: text>"), "the rows have no member `c`");
    assert_eq!(hint("text"), "take json to keep it as text, or derive a member of it: `from: a.b`");
}

#[test]
fn refuses_what_could_mean_several_things() {
    for (from, to) in [
        ("int64", "timestamp"),
        ("int64", "date"),
        ("float64", "bool"),
        ("bool", "float64"),
        ("timestamp", "int64"),
        ("date", "int32"),
        ("timestamp", "local_timestamp"),
        ("local_timestamp", "timestamp"),
        ("text", "list<text>"),
        ("binary", "int64"),
        ("decimal(5,2)", "date"),
        ("int64", "null"),
    ] {
        let empty = new_null_array(column_type(from).arrow(), 0);
        assert!(matches!(cast(&empty, &column_type(to)), Err(Failure::Cannot { .. })), "{from} to {to}");
    }
}

/// Casts there and back again.
fn round(array: &ArrayRef, through: &str, back: &str) -> ArrayRef {
    let there = cast(array, &column_type(through)).unwrap();
    cast(&there, &column_type(back)).unwrap()
}

proptest! {
    #[test]
    fn integers_survive_text_and_decimal(values in prop::collection::vec(any::<Option<i64>>(), 0..20)) {
        let array: ArrayRef = Arc::new(Int64Array::from(values));
        for through in ["text", "decimal(20,1)"] {
            prop_assert_eq!(&round(&array, through, "int64"), &array);
        }
    }

    #[test]
    fn floats_survive_text(bits in prop::collection::vec(any::<u64>(), 0..20)) {
        let values = bits.into_iter().map(f64::from_bits).map(|v| if v.is_nan() { f64::NAN } else { v });
        let array: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
        prop_assert_eq!(&round(&array, "text", "float64"), &array);
    }

    #[test]
    fn an_integer_that_becomes_a_float_is_the_same_number(value in any::<i64>()) {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        match cast(&array, &column_type("float64")) {
            Ok(made) => prop_assert_eq!(&cast(&made, &column_type("int64")).unwrap(), &array),
            Err(_) => prop_assert!(value.unsigned_abs() > 1 << 53),
        }
    }

    #[test]
    fn times_survive_text(microseconds in -60_000_000_000_000_000_i64..250_000_000_000_000_000) {
        let plain = PrimitiveArray::<TimestampMicrosecondType>::from(vec![microseconds]);
        let local: ArrayRef = Arc::new(plain.clone());
        prop_assert_eq!(&round(&local, "text", "local_timestamp"), &local);
        let instant: ArrayRef = Arc::new(plain.with_timezone("UTC"));
        prop_assert_eq!(&round(&instant, "text", "timestamp"), &instant);
        let date = cast(&instant, &column_type("date")).unwrap();
        prop_assert_eq!(&round(&date, "text", "date"), &date);
        prop_assert_eq!(&round(&date, "timestamp", "date"), &date);
    }

    #[test]
    fn no_text_makes_a_cast_panic(text in "\\PC{0,12}|[-+0-9.eE:TZ]{0,24}") {
        let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
        for to in ["int32", "int64", "float32", "float64", "decimal(38,10)", "bool", "date", "timestamp", "local_timestamp", "json", "binary"] {
            if let Err(failure) = cast(&array, &column_type(to)) {
                prop_assert!(failure.tell("c", None, &array, None).hint.is_some());
            }
        }
    }
}
