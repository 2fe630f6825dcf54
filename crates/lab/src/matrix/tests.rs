//! The tables against the record.

use std::sync::LazyLock;

use super::*;

static MATRIX: LazyLock<Matrix> = LazyLock::new(|| matrix().expect("shipped profiles build"));

#[test]
fn no_cell_disagrees_with_the_record() {
    let matrix = &*MATRIX;
    println!("{}\n{}", matrix.evasions.text(), matrix.protocols.text());
    let wrong: Vec<String> = [&matrix.evasions, &matrix.protocols, &matrix.servers]
        .into_iter()
        .flat_map(|table| &table.cells)
        .filter(|cell| cell.agreement == Agreement::Disagree)
        .map(|cell| {
            format!(
                "{} × {}: {:?}, recorded {:?} ({})",
                cell.row, cell.column, cell.ending, cell.recorded, cell.source
            )
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_recorded_cell_is_computed() {
    let matrix = &*MATRIX;
    for said in record::RECORDED {
        for row in said.rows {
            for column in said.columns {
                let there = matrix.evasions.cell(row, column).or(matrix.protocols.cell(row, column));
                assert!(there.is_some(), "{row} × {column} is recorded but not computed");
            }
        }
    }
}

#[test]
fn silent_cells_are_not_recorded_ones() {
    for (row, column) in record::SILENT {
        assert_eq!(record::of(row, column), None, "{row} × {column}");
    }
}

#[test]
fn linux_takes_what_every_evasion_means_to_say_and_windows_not_three_of_them() {
    let refused = |server: &str| -> Vec<&str> {
        let cells = MATRIX.servers.cells.iter().filter(|cell| cell.column == server && !cell.survives);
        cells.map(|cell| cell.row.as_str()).collect()
    };
    assert_eq!(refused("linux"), Vec::<&str>::new());
    assert_eq!(refused("windows"), ["fake_md5", "fake_timestamp", "fakeddisorder_md5"]);
    assert_eq!(refused("linux-open"), ["hop_by_hop_fake"]);
}

#[test]
fn the_same_tables_come_of_every_run() {
    let (one, two) = (&*MATRIX, matrix().expect("a matrix"));
    assert_eq!(one.evasions.text(), two.evasions.text());
    assert_eq!(one.protocols.text(), two.protocols.text());
}
