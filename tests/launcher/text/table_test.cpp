// Tables: as wide as what is in them, within the terminal, and safe.
#include "launcher/text/table.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

using namespace launcher;

namespace {

TextTable vms() {
  TextTable table({{"NAME", false, true}, {"QEMU", true}, {"CPUS", false, true}});
  table.add({"db", "17", "0-3"});
  table.add({"a-long-name-of-a-vm", "123456", "4,6,8,10,12,14", "NOT AS WANTED"});
  return table;
}

}  // namespace

TEST_CASE("columns are as wide as what is in them, and lines end in no spaces") {
  CHECK(vms().text(0) ==
        "NAME                   QEMU  CPUS\n"
        "db                       17  0-3\n"
        "a-long-name-of-a-vm  123456  4,6,8,10,12,14  NOT AS WANTED\n");
  CHECK(vms().text(200) == vms().text(0));
  CHECK(TextTable({{"A"}, {"B"}}).text(80) == "A  B\n");
  CHECK(TextTable({{"A"}, {"B"}}).empty());
  TextTable wide({{"A", false, false, 5}, {"B", true, false, 5}});
  wide.add({"x", "y"});
  CHECK(wide.text(80) == "A          B\nx          y\n");
}

TEST_CASE("in a narrow terminal the widest of what may be cut is cut, and numbers never") {
  CHECK(vms().text(30) ==
        "NAME          QEMU  CPUS\n"
        "db              17  0-3\n"
        "a-long-...  123456  4,6,8,1...  NOT AS WANTED\n");
  // each line, without its remark, is within the width
  for (unsigned width = 16; width < 60; ++width) {
    const std::string text = vms().text(width);
    for (std::size_t from = 0; from < text.size(); from = text.find('\n', from) + 1) {
      std::string line = text.substr(from, text.find('\n', from) - from);
      line = line.substr(0, line.find("  NOT AS"));
      INFO(width, ": ", line);
      CHECK(text_width(line) <= std::max(width, 18u));
      CHECK(line.find("12345") == (from > 0 && line[0] == 'a' ? line.find("123456") : line.npos));
    }
  }
}

TEST_CASE("widths are those of a terminal, and no cell steers it") {
  TextTable table({{"NAME"}, {"X"}});
  table.add({"東京", "1"});
  table.add({"e\u0301", "2"});
  table.add({"\033[2J\n", "3"});
  CHECK(table.text(0) ==
        "NAME       X\n"
        "東京       1\n"
        "e\u0301          2\n"
        "\\x1b[2J\\n  3\n");
  CHECK(cut_to("東京都", 6) == "東京都");
  CHECK(cut_to("東京都", 5) == "東...");
  CHECK(cut_to("東京都", 4) == "...");
  CHECK(cut_to("abcdef", 2) == "..");
  CHECK(cut_to("abc", 0).empty());
}

TEST_CASE("a file has no width") {
  const int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
  CHECK(terminal_width(fd) == 0);
  close(fd);
}
