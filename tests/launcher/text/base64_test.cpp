// Base64 there and back: the vectors of RFC 4648, every length, and what is none.
#include "launcher/text/base64.hpp"

#include <doctest/doctest.h>

#include <array>
#include <utility>

using launcher::base64, launcher::from_base64;

TEST_CASE("base64: the vectors of RFC 4648, section 10") {
  constexpr std::array<std::pair<const char*, const char*>, 8> vectors{{{"", ""},
                                                                        {"f", "Zg=="},
                                                                        {"fo", "Zm8="},
                                                                        {"foo", "Zm9v"},
                                                                        {"foob", "Zm9vYg=="},
                                                                        {"fooba", "Zm9vYmE="},
                                                                        {"foobar", "Zm9vYmFy"},
                                                                        {"\xff\xfe\xfd", "//79"}}};
  for (const auto& [bytes, text] : vectors) {
    CHECK(base64(bytes) == text);
    CHECK(from_base64(text) == std::string(bytes));
  }
}

TEST_CASE("base64: every byte, at every length") {
  std::string bytes;
  for (int i = 0; i < 600; ++i) {
    CHECK(from_base64(base64(bytes)) == bytes);
    CHECK(base64(bytes).size() == (bytes.size() + 2) / 3 * 4);
    bytes += static_cast<char>(i * 37);
  }
}

TEST_CASE("base64: what is none gives nothing") {
  for (const char* text :
       {"Z", "Zg=", "Zg===", "Zm9v Yg==", "Zm9v\n", "Zg==Zg==", "Zm9*", "=", "====", "Z\xc3\xa4=="}) {
    CAPTURE(text);
    CHECK(!from_base64(text));
  }
  CHECK(from_base64("Zg") == "f");  // systemd's and the agent's are padded; one that is not is understood
}
