// See table.hpp.
#include "launcher/text/table.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "launcher/text/printable.hpp"

namespace launcher::inline text {

namespace {

constexpr unsigned gap = 2;
constexpr std::string_view left_out = "...";

}  // namespace

unsigned text_width(std::string_view text) {
  unsigned width = 0;
  while (!text.empty()) {
    const CodePoint point = decode_utf8(text);
    width += display_width(point);
    text.remove_prefix(point.bytes);
  }
  return width;
}

std::string cut_to(std::string_view text, unsigned width) {
  if (text_width(text) <= width) return std::string(text);
  const std::string_view end = left_out.substr(0, width);
  const unsigned room = width - static_cast<unsigned>(end.size());
  std::string cut;
  for (unsigned used = 0; !text.empty();) {
    const CodePoint point = decode_utf8(text);
    used += display_width(point);
    if (used > room) break;
    cut += text.substr(0, point.bytes);
    text.remove_prefix(point.bytes);
  }
  return cut.append(end);
}

unsigned terminal_width(int fd) {
  winsize size{};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void TextTable::add(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = printable(cell);
  cells.resize(std::clamp(cells.size(), columns_.size(), columns_.size() + 1));
  rows_.push_back(std::move(cells));
}

std::string TextTable::text(unsigned width) const {
  std::vector<unsigned> widths;
  unsigned total = 0;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    unsigned widest = std::max(columns_[i].at_least, text_width(columns_[i].head));
    for (const auto& row : rows_) widest = std::max(widest, text_width(row[i]));
    widths.push_back(widest);
    total += widest + (i > 0 ? gap : 0);
  }
  while (width > 0 && total > width) {  // the widest of those that may be cut, a column of the terminal at a time
    std::size_t widest = columns_.size();
    for (std::size_t i = 0; i < columns_.size(); ++i)
      if (columns_[i].may_cut && widths[i] > std::max(4u, text_width(columns_[i].head)) &&
          (widest == columns_.size() || widths[i] > widths[widest]))
        widest = i;
    if (widest == columns_.size()) break;
    --widths[widest], --total;
  }
  std::vector<std::string> heads;
  for (const Column& column : columns_) heads.push_back(column.head);
  std::string out;
  const auto add_line = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string cell = cut_to(cells[i], widths[i]);
      const std::string pad(widths[i] - text_width(cell), ' ');
      line += (i > 0 ? std::string(gap, ' ') : "") + (columns_[i].right ? pad + cell : cell + pad);
    }
    if (cells.size() > widths.size() && !cells.back().empty()) line += std::string(gap, ' ') + cells.back();
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  add_line(heads);
  for (const auto& row : rows_) add_line(row);
  return out;
}

}  // namespace launcher::text
