//! Growth and bounds of tables.

use super::*;

#[test]
fn a_growing_range_adds_rows_at_both_ends() {
    for xpos in [None, Some(XPos::new(0))] {
        let rotary = Rotary::new(DIM).with_xpos(xpos);
        let mut table = Table::new(&rotary, 0..=9, 10).unwrap();
        assert_eq!(table.is_split(), xpos.is_some());
        assert_eq!(table.grow(3..=5, 10), Ok(Growth::Kept));
        assert_eq!(table.grow(-4..=20, 21), Ok(Growth::Extended));
        assert_eq!(table, Table::new(&rotary, -4..=20, 21).unwrap());
        assert_eq!(table.entries(Side::Key).len(), 25 * 32);
        assert_eq!(
            (table.row(-5, Side::Query), table.row(21, Side::Key)),
            (None, None)
        );
    }
}

#[test]
fn a_kind_that_depends_on_length_is_rebuilt_when_its_frequencies_change() {
    let rotary = Rotary::new(DIM).with_kind(RopeKind::LongRope(long_rope(32)));
    let mut table = Table::new(&rotary, 0..=9, 10).unwrap();
    assert_eq!(table.grow(0..=19, 4096), Ok(Growth::Extended));
    assert_eq!(table.grow(0..=19, 4097), Ok(Growth::Rebuilt));
    assert_eq!(table, Table::new(&rotary, 0..=19, 4097).unwrap());
    assert_eq!(table.grow(0..=19, 9000), Ok(Growth::Kept));
}

#[test]
fn positions_outside_of_the_stated_range_are_refused() {
    let table = Table::new(&Rotary::new(DIM), -2..=7, 8).unwrap();
    assert_eq!(table.check("q_positions", &[-2, 7]), Ok(()));
    let error = table.check("q_positions", &[0, 8]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "q_positions[1] is 8; allowed is -2 to 7, the stated range; state a wider one"
    );
}

#[test]
fn ranges_that_no_table_can_hold_are_refused() {
    let plain = Rotary::new(DIM);
    let xpos = plain.clone().with_xpos(XPos::new(0));
    #[expect(clippy::reversed_empty_ranges)]
    for (rotary, range) in [
        (&plain, 1..=0),
        (&plain, i32::MIN..=i32::MAX),
        (&xpos, 0..=17_000),
    ] {
        let error = Table::new(rotary, range, 1).unwrap_err();
        assert!(matches!(error, Error::Positions { .. }), "{error}");
    }
    assert!(Table::new(&xpos, -16_000..=16_000, 1).is_ok());
}
