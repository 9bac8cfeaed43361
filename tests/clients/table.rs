//! Clients × scenarios, counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Client;

/// How many cases passed, of how many, by row and client.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<&'static str>,
    cells: BTreeMap<(&'static str, Client), (usize, usize)>,
}

impl Table {
    pub(crate) fn count(&mut self, row: &'static str, client: Client, passed: bool) {
        if !self.rows.contains(&row) {
            self.rows.push(row);
        }
        let cell = self.cells.entry((row, client)).or_default();
        cell.0 += usize::from(passed);
        cell.1 += 1;
    }

    /// With a line for each row and a column for each client.
    pub(crate) fn print(&self) -> String {
        let mut out = format!("{:ROW$}", "");
        for client in Client::ALL {
            write!(out, "{:>COLUMN$}", client.name()).unwrap();
        }
        for row in &self.rows {
            write!(out, "\n{row:ROW$}").unwrap();
            for client in Client::ALL {
                let cell = self.cells.get(&(*row, client));
                let cell = cell.map_or("-".to_owned(), |(passed, all)| format!("{passed}/{all}"));
                write!(out, "{cell:>COLUMN$}").unwrap();
            }
        }
        out.push('\n');
        out
    }
}

const ROW: usize = 32;
const COLUMN: usize = 20;
