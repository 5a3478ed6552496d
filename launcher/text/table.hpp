// A table for a person: columns as wide as what is in them, within the width of the terminal. The rule: what is in a cell is made
// printable here, and counted as a terminal shows it; a cell is cut only where the whole row would not fit.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace launcher::inline text {

struct Column {
  std::string head;
  bool right = false;  // numbers
  bool may_cut =
      false;  // is made narrower, down to its head, where the table is too wide; "..." stands for what is left out
  unsigned at_least = 0;  // so that tables below each other look alike
};

class TextTable {
 public:
  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // One cell for each column; one more is a remark that stands behind the row.
  void add(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }
  std::string text(
      unsigned width) const;  // in terminal columns; 0: as wide as it gets. Each line ends in '\n', and in no spaces

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

unsigned text_width(std::string_view text);  // terminal columns of what is printable
std::string cut_to(std::string_view text, unsigned width);
unsigned terminal_width(int fd);  // 0 where it is no terminal: a file is cut nowhere

}  // namespace launcher::text
