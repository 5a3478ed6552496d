// What leaves for a terminal: nothing that came from a guest, QEMU, a file or a user steers it.
#include "launcher/text/out.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>
#include <functional>

using namespace launcher;

namespace {

// What `act` writes to the stream, whose fd is replaced by a file for as long.
std::string written(std::FILE* stream, const std::function<void()>& act) {
  std::fflush(stream);
  std::FILE* file = std::tmpfile();
  const int fd = fileno(stream), before = dup(fd);
  dup2(fileno(file), fd);
  act();
  std::fflush(stream);
  dup2(before, fd);
  close(before);
  std::string text(static_cast<std::size_t>(lseek(fileno(file), 0, SEEK_END)), '\0');
  CHECK(pread(fileno(file), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  std::fclose(file);
  return text;
}

const std::string hostile = "a\033]0;owned\007\x7f\r\u009b2J\u202eb\xff";
const std::string tamed = "a\\x1b]0;owned\\x07\\x7f\\x0d\\u{9b}2J\\u{202e}b\\xff";

}  // namespace

TEST_CASE("every door escapes what could steer a terminal") {
  CHECK(written(stdout, [] { print(hostile + "\n\tü 東\n"); }) == tamed + "\n\tü 東\n");
  CHECK(written(stderr, [] { say(hostile); }) == "vmrun: " + tamed + "\n");
  CHECK(written(stderr, [] { complain(hostile + "\n"); }) == tamed + "\n");
  CHECK(written(stderr, [] { progress(hostile + "\n"); }) == "\r\033[K" + tamed + "\\n");
  CHECK(written(stderr, [] {
          complain({{hostile, hostile, hostile}}, nullptr, false);
        }) == "error: " + tamed + ": " + tamed + "\nhelp: " + tamed + "\n");
}

TEST_CASE("a message's further lines do not look like messages of their own") {
  CHECK(written(stderr, [] { say("QEMU said: oh\nvmrun: VM db: stopped\n"); }) ==
        "vmrun: QEMU said: oh\n    vmrun: VM db: stopped\n");
  CHECK(printable_message("").empty());
  CHECK(printable_message("one") == "one");
}

TEST_CASE("JSON stays the value that it was") {
  const boost::json::value value = {{"w\u0085", "\033\u009b\u2066 ü\n\t\"\\"}};
  const std::string text = written(stdout, [&] { print_json_text(boost::json::serialize(value)); });
  CHECK(text == "{\"w\\u0085\":\"\\u001b\\u009b\\u2066 ü\\n\\t\\\"\\\\\"}\n");
  CHECK(boost::json::parse(text) == value);
  // what is no UTF-8 was no JSON either
  CHECK(boost::json::parse(printable_json("[\"a\xff\"]")) == boost::json::value{"a\ufffd"});
}
