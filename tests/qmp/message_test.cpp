#include "qmp/message.hpp"

#include <doctest/doctest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

using qmp::parse_message;

namespace {

template <class Kind>
Kind parsed(std::string_view line) {
  std::expected<qmp::Message, std::string> message = parse_message(line);
  REQUIRE_MESSAGE(message.has_value(), message.error());
  REQUIRE(std::holds_alternative<Kind>(*message));
  return std::get<Kind>(*message);
}

}  // namespace

TEST_CASE("a greeting") {
  const auto greeting = parsed<qmp::Greeting>(
      R"({"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2"}, "capabilities": ["oob"]}})");
  CHECK(greeting.major == 7);
  CHECK(greeting.minor == 2);
  CHECK(greeting.micro == 22);
  CHECK(greeting.package == "Debian 1:7.2");
}

TEST_CASE("a reply") {
  const auto reply = parsed<qmp::Reply>(R"({"return": {"status": "running"}, "id": 7})");
  CHECK(reply.id == 7);
  CHECK(reply.value.at("status").as_string() == "running");
  CHECK(parsed<qmp::Reply>(R"({"return": []})").id == 0);
  CHECK(parsed<qmp::Reply>(R"({"id": 18446744073709551615, "return": 1})").id == 18446744073709551615u);
}

TEST_CASE("a failure") {
  const auto failure = parsed<qmp::Failure>(R"({"id": 3, "error": {"class": "GenericError", "desc": "no \"x\""}})");
  CHECK(failure.id == 3);
  CHECK(failure.error_class == "GenericError");
  CHECK(failure.description == "no \"x\"");
  CHECK(parsed<qmp::Failure>(R"({"error": {"class": "C", "desc": "d"}})").id == 0);
}

TEST_CASE("an event") {
  const auto event = parsed<qmp::Event>(
      R"({"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true}})");
  CHECK(event.name == "SHUTDOWN");
  CHECK(event.data.at("guest").as_bool());
  CHECK(parsed<qmp::Event>(R"({"event": "STOP"})").data.empty());
}

TEST_CASE("what is none of these is one sentence, never an exception") {
  const std::string deep(100'000, '[');
  const std::string nul("{\"return\": \0}", 13);
  const std::string_view lines[] = {
      "",
      " ",
      "null",
      "1",
      "[]",
      "\"QMP\"",
      "{}",
      "{",
      "}",
      "{\"return\": {}",
      R"({"return": {}} x)",
      R"({"return": 1, "error": {"class": "a", "desc": "b"}})",
      R"({"return": 1, "event": "X"})",
      R"({"QMP": 1})",
      R"({"QMP": {}})",
      R"({"QMP": {"version": {}}})",
      R"({"QMP": {"version": {"qemu": []}}})",
      R"({"QMP": {"version": {"qemu": {"major": -1, "minor": 2, "micro": 3}}}})",
      R"({"QMP": {"version": {"qemu": {"major": 4294967296, "minor": 2, "micro": 3}}}})",
      R"({"QMP": {"version": {"qemu": {"major": 1.5, "minor": 2, "micro": 3}}}})",
      R"({"QMP": {"version": {"qemu": {"major": 1, "minor": 2, "micro": 3}, "package": 5}}})",
      R"({"return": {}, "id": "1"})",
      R"({"return": {}, "id": -1})",
      R"({"return": {}, "id": 1.0})",
      R"({"return": {}, "id": null})",
      R"({"return": {}, "id": 18446744073709551616})",
      R"({"error": "no"})",
      R"({"error": {"class": "C"}})",
      R"({"error": {"class": 1, "desc": "d"}})",
      R"({"event": 1})",
      R"({"event": "X", "data": []})",
      R"({"event": "X", "data": null})",
      "{\"event\": \"\xff\"}",
      "\xff\xfe",
      deep,
      nul};
  for (const std::string_view line : lines) {
    const auto message = parse_message(line);
    REQUIRE_MESSAGE(!message.has_value(), line.substr(0, 100));
    CHECK_MESSAGE(message.error().starts_with("broken QMP line, "), message.error());
    CHECK(message.error().find('\n') == std::string::npos);
    CHECK(message.error().size() < 600);
  }
  CHECK(parse_message("{]").error().find("not JSON") != std::string::npos);
  CHECK(parse_message(R"({"return": {}, "id": "1"})").error() ==
        "broken QMP line, reply with an id that is not a natural number: \"{\"return\": {}, \"id\": \"1\"}\"");
}

TEST_CASE("nesting up to 200 is believed, without recursion at a million") {
  CHECK(parse_message("{\"return\":" + std::string(200, '[') + std::string(200, ']') + "}").has_value());
  CHECK(!parse_message("{\"return\":" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}").has_value());
}

TEST_CASE("a command is one compact line") {
  CHECK(qmp::to_line({"cont"}, 3) == "{\"execute\":\"cont\",\"id\":3}\n");
  CHECK(qmp::to_line({"device-list-properties", {{"typename", "virtio-blk-pci"}}}, 12) ==
        "{\"execute\":\"device-list-properties\",\"arguments\":{\"typename\":\"virtio-blk-pci\"},\"id\":12}\n");
  const std::string hostile = qmp::to_line({"a\nb", {{"x", "\r\n\0\"\\"}}}, 1);
  CHECK(hostile.find('\n') == hostile.size() - 1);
  CHECK(boost::json::parse(hostile).at("execute").as_string() == "a\nb");
}

TEST_CASE("an excerpt is short and printable") {
  CHECK(qmp::excerpt("abc") == "\"abc\"");
  CHECK(qmp::excerpt(std::string_view("a\0\xff\\\n", 5)) == R"("a\x00\xff\\\x0a")");
  CHECK(qmp::excerpt(std::string(80, 'x')) == '"' + std::string(80, 'x') + '"');
  CHECK(qmp::excerpt(std::string(81, 'x')) == '"' + std::string(80, 'x') + "\"... (81 bytes)");
}
