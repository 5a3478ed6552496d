#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "qmp/message.hpp"

using qmp::LineSplitter;

namespace {

std::vector<std::string> take_all(LineSplitter& splitter) {
  std::vector<std::string> lines;
  while (splitter.has_line()) lines.push_back(*splitter.next());
  return lines;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("lines come out as they went in, however they were cut") {
  const std::string stream = "one\r\ntwo\n\r\n\nfi\rve\r\n" + std::string("n\0l\n", 4) + "rest";
  const Lines wanted{"one", "two", "", "", "fi\rve", std::string("n\0l", 3)};
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    LineSplitter splitter;
    Lines lines;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      splitter.feed(std::string_view(stream).substr(at, piece));
      for (const std::string& line : take_all(splitter)) lines.push_back(line);
    }
    CHECK_MESSAGE(lines == wanted, piece);
    CHECK(splitter.rest() == "rest");
  }
}

TEST_CASE("no line yet is an empty string and has_line() false") {
  LineSplitter splitter;
  CHECK(!splitter.has_line());
  CHECK(splitter.next() == std::string());
  splitter.feed("half");
  CHECK(!splitter.has_line());
  CHECK(splitter.next() == std::string());
  splitter.feed(" line\nx\n");
  CHECK(splitter.rest().empty());
  CHECK(take_all(splitter) == Lines{"half line", "x"});
}

TEST_CASE("bytes may come while lines wait to be taken") {
  LineSplitter splitter;
  splitter.feed("one\ntwo\nthr");
  CHECK(splitter.next() == "one");
  splitter.feed("ee\nfour");
  CHECK(splitter.rest().empty());
  CHECK(take_all(splitter) == Lines{"two", "three"});
  CHECK(splitter.rest() == "four");
}

TEST_CASE("a line may be as long as the limit, not longer; the error lasts, and what came before is given first") {
  LineSplitter splitter(10);
  splitter.feed("0123456789\nab\n0123456789a\nok\n");
  CHECK(!splitter.broken());
  CHECK(take_all(splitter) == Lines{"0123456789", "ab"});
  CHECK(splitter.broken());
  CHECK(splitter.next().error() == "a line of more than 10 bytes, beginning with \"0123456789a\\x0aok\\x0a\"");
  splitter.feed("fine\n");
  CHECK(!splitter.has_line());
  CHECK(!splitter.next().has_value());
}

TEST_CASE("a long line without an end breaks as soon as it is too long") {
  LineSplitter splitter(10);
  splitter.feed("01234");
  splitter.feed("56789");
  CHECK(!splitter.broken());
  splitter.feed("a");
  CHECK(splitter.broken());
}

TEST_CASE("a broken splitter keeps no memory of the long line") {
  LineSplitter splitter;
  splitter.feed(std::string(10u << 20, 'x'));
  CHECK(splitter.broken());
  CHECK(splitter.rest().size() <= 100);
  CHECK(splitter.next().error().size() < 300);
}

TEST_CASE("8 MiB in one line and a million short ones are both linear") {
  LineSplitter splitter;
  for (int i = 0; i < 8 * 1024; ++i) splitter.feed(std::string(1000, 'x'));
  splitter.feed("\n");
  CHECK(splitter.next()->size() == 8'192'000);
  std::string many;
  for (int i = 0; i < 1'000'000; ++i) many += "short\n";
  splitter.feed(many);
  CHECK(take_all(splitter).size() == 1'000'000);
}
