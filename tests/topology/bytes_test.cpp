// Bytes: text both ways and what is refused.
#include "topology/bytes.hpp"

#include <doctest/doctest.h>

using namespace topology;

namespace {

std::uint64_t bytes(std::string_view text) {
  const auto parsed = parse_bytes(text);
  REQUIRE_MESSAGE(parsed, (parsed ? "" : parsed.error()));
  return parsed->count;
}

std::string error(std::string_view text) {
  const auto parsed = parse_bytes(text);
  return parsed ? "read as " + to_string(*parsed) : parsed.error();
}

const std::string wanted = "; wanted a whole number with K, M, G or T, as in \"512M\" or \"16G\"";

}  // namespace

TEST_CASE("sizes are read") {
  CHECK(bytes("4096") == 4096);
  CHECK(bytes("4K") == 4096);
  CHECK(bytes("2M") == 2u << 20);
  CHECK(bytes("16G") == std::uint64_t{16} << 30);
  CHECK(bytes("1T") == std::uint64_t{1} << 40);
  CHECK(bytes("16GiB") == gib(16).count);
  CHECK(bytes("16g") == gib(16).count);
  CHECK(bytes("16GB") == gib(16).count);
  CHECK(bytes("16 G") == gib(16).count);
  CHECK(bytes("0") == 0);
  CHECK(bytes("7B") == 7);
  CHECK(bytes("9223372036854775807") == 9223372036854775807u);
}

TEST_CASE("what is no size is refused with what was wanted") {
  CHECK(error("") == "an empty size" + wanted);
  CHECK(error("G") == "\"G\" is not a size" + wanted);
  CHECK(error("-1") == "\"-1\" is not a size" + wanted);
  CHECK(error("+1") == "\"+1\" is not a size" + wanted);
  CHECK(error(" 1") == "\" 1\" is not a size" + wanted);
  CHECK(error("1.5G") == "\"1.5G\" has a fraction" + wanted);
  CHECK(error("1,5G") == "\"1,5G\" has a fraction" + wanted);
  CHECK(error("16X") == "\"X\" is not a unit" + wanted);
  CHECK(error("16Gi") == "\"Gi\" is not a unit" + wanted);
  CHECK(error("16GG") == "\"GG\" is not a unit" + wanted);
  CHECK(error("0x10") == "\"x10\" is not a unit" + wanted);
  CHECK(error("9223372036854775808") == "\"9223372036854775808\" is too large");
  CHECK(error("8388608T") == "\"8388608T\" is too large");
  CHECK(error("99999999999999999999G") == "\"99999999999999999999G\" is too large");
}

TEST_CASE("sizes are written in the largest exact unit") {
  CHECK(to_string(Bytes{0}) == "0");
  CHECK(to_string(Bytes{4097}) == "4097");
  CHECK(to_string(kib(4)) == "4K");
  CHECK(to_string(mib(1536)) == "1536M");
  CHECK(to_string(gib(16)) == "16G");
  CHECK(to_string(gib(1024)) == "1T");
  for (const std::uint64_t count : {1ull, 1023ull, 1024ull, 1536ull << 20, 1ull << 62, 9223372036854775807ull})
    CHECK(parse_bytes(to_string(Bytes{count})) == Bytes{count});
}
