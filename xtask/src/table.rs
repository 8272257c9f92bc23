//! A table for a terminal: the first column to the left, the others to the right.

/// Returns `rows` under `header`, one line each, columns as wide as their widest cell.
pub(crate) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let width = |column: usize| {
        let cells = rows
            .iter()
            .chain([&header])
            .filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells =
            row.iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, width))| match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    [&header]
        .into_iter()
        .chain(rows)
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::render;

    /// A crooked table cannot be read.
    #[test]
    fn aligns() {
        let text = render(
            &["what", "n"],
            &[
                vec!["a".into(), "10".into()],
                vec!["bcdef".into(), "1".into()],
            ],
        );
        assert_eq!(text, "what    n\na      10\nbcdef   1");
    }
}
