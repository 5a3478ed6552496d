// Images as qemu-img makes them: format, what they stand on, and what vmrun does not run.
#include "launcher/facts/image.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "launcher/host/process.hpp"
#include "tests/fakes/temp_dir.hpp"

namespace {

using launcher::Image;
using launcher::read_image;

bool have_qemu_img() { return access("/usr/bin/qemu-img", X_OK) == 0; }

struct Folder : fakes::TempDir {
  std::string file(const std::string& name) const { return path() / name; }
  void img(std::vector<std::string> arguments) const {
    launcher::ChildSpec child;
    child.argv = {"/bin/sh", "-c", "cd \"$0\" && exec /usr/bin/qemu-img \"$@\" >/dev/null", path()};
    child.argv.insert(child.argv.end(), arguments.begin(), arguments.end());
    REQUIRE(launcher::reap(launcher::spawn(child, {{2, 2}}, [](const launcher::ProcessId&) {}).pid) == 0);
  }
};

std::string problem_of(const std::string& path) {
  const auto image = read_image(path);
  return image ? "none: " + image->format : image.error();
}

bool skip() {
  if (have_qemu_img()) return false;
  MESSAGE("skipped: needs qemu-img");
  return true;
}

}  // namespace

TEST_CASE("raw is whatever has no known header") {
  const Folder dir;
  for (const std::string& text : {std::string(), std::string("x"), std::string(200, '\0'), std::string("QFI"),
                                  "QFI\xfb" + std::string(10, '\0')}) {
    fakes::write_file(dir / "a.raw", text);
    const auto image = read_image(dir.file("a.raw"));
    REQUIRE(image);
    CHECK(image->format == "raw");
    CHECK(image->chain.empty());
  }
  CHECK(problem_of(dir.file("gone")) == "'" + dir.file("gone") + "' cannot be read");
}

TEST_CASE("qcow2 of both versions") {
  if (skip()) return;
  const Folder dir;
  for (const char* compat : {"0.10", "1.1"}) {
    dir.img({"create", "-f", "qcow2", "-o", std::string("compat=") + compat, "a.qcow2", "1M"});
    const auto image = read_image(dir.file("a.qcow2"));
    REQUIRE(image);
    CHECK(image->format == "qcow2");
    CHECK(image->chain.empty());
  }
}

TEST_CASE("backing files are found, nearest first, relative to the image that names them") {
  if (skip()) return;
  const Folder dir;
  dir.img({"create", "-f", "raw", "base.raw", "1M"});
  std::filesystem::create_directory(dir / "sub");
  dir.img({"create", "-f", "qcow2", "-b", "../base.raw", "-F", "raw", "sub/mid.qcow2"});
  dir.img({"create", "-f", "qcow2", "-b", "sub/mid.qcow2", "-F", "qcow2", "top.qcow2"});
  const auto image = read_image(dir.file("top.qcow2"));
  REQUIRE_MESSAGE(image.has_value(), (image ? "" : image.error()));
  CHECK(image->format == "qcow2");
  REQUIRE(image->chain.size() == 2);
  CHECK(image->chain[0] == Image{dir.file("sub/mid.qcow2"), "qcow2"});
  CHECK(image->chain[1].format == "raw");
  CHECK(std::filesystem::equivalent(image->chain[1].path, dir / "base.raw"));
  dir.img({"create", "-f", "qcow2", "-b", dir.file("base.raw"), "-F", "raw", "absolute.qcow2"});
  CHECK(read_image(dir.file("absolute.qcow2"))->chain == std::vector<Image>{{dir.file("base.raw"), "raw"}});
  dir.img({"create", "-f", "qcow2", "-b", "file:base.raw", "-F", "raw", "file.qcow2"});
  CHECK(read_image(dir.file("file.qcow2"))->chain == std::vector<Image>{{dir.file("base.raw"), "raw"}});
}

TEST_CASE("a backing file said to be raw is raw, whatever a guest wrote into it") {
  if (skip()) return;
  const Folder dir;
  dir.img({"create", "-f", "raw", "base.raw", "1M"});
  for (const char* compat : {"0.10", "1.1"}) {
    dir.img(
        {"create", "-f", "qcow2", "-o", std::string("compat=") + compat, "-b", "base.raw", "-F", "raw", "top.qcow2"});
    dir.img({"create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "evil.qcow2", "1M"});
    std::string evil = fakes::read_file(dir / "evil.qcow2");
    evil.resize(1 << 20);
    fakes::write_file(dir / "base.raw", evil);  // as a guest could that once had it as its disk
    const auto image = read_image(dir.file("top.qcow2"));
    REQUIRE(image);
    CHECK(image->chain == std::vector<Image>{{dir.file("base.raw"), "raw"}});
  }
}

TEST_CASE("what an image stands on must be there") {
  if (skip()) return;
  const Folder dir;
  dir.img({"create", "-f", "raw", "base.raw", "1M"});
  dir.img({"create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "top.qcow2"});
  std::filesystem::remove(dir / "base.raw");
  CHECK(problem_of(dir.file("top.qcow2")) ==
        "'" + dir.file("top.qcow2") + "' stands on '" + dir.file("base.raw") + "', which is not there");
}

TEST_CASE("a chain that loops, or is too long, is refused") {
  if (skip()) return;
  const Folder dir;
  dir.img({"create", "-f", "qcow2", "a.qcow2", "1M"});
  dir.img({"create", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2"});
  dir.img({"rebase", "-u", "-b", "b.qcow2", "-F", "qcow2", "a.qcow2"});
  CHECK(problem_of(dir.file("a.qcow2")) == "its chain of backing files is longer than 16, or loops");
  dir.img({"create", "-f", "qcow2", "c0", "1M"});
  for (int i = 1; i <= 17; ++i)
    dir.img({"create", "-f", "qcow2", "-b", "c" + std::to_string(i - 1), "-F", "qcow2", "c" + std::to_string(i)});
  CHECK(read_image(dir.file("c16"))->chain.size() == 16);
  CHECK(problem_of(dir.file("c17")) == "its chain of backing files is longer than 16, or loops");
}

TEST_CASE("encrypted images and those with their data elsewhere are refused") {
  if (skip()) return;
  const Folder dir;
  for (const char method : {'\1', '\2'}) {  // AES, LUKS: crypt_method is the last byte of the word at 32
    dir.img({"create", "-q", "-f", "qcow2", "plain.qcow2", "1M"});
    std::string text = fakes::read_file(dir / "plain.qcow2");
    text[35] = method;
    fakes::write_file(dir / "encrypted.qcow2", text);
    CHECK(problem_of(dir.file("encrypted.qcow2")) == "the image is encrypted, which vmrun does not handle");
  }
  dir.img({"create", "-q", "-f", "qcow2", "-o", "data_file=data.raw", "external.qcow2", "1M"});
  CHECK(problem_of(dir.file("external.qcow2")) ==
        "the image keeps its data in another file, which vmrun does not handle");
}

TEST_CASE("other formats are named, with the way out") {
  if (skip()) return;
  const Folder dir;
  for (const char* format : {"vmdk", "vhdx", "qed", "vdi"}) {
    INFO(std::string(format));
    dir.img({"create", "-q", "-f", format, std::string("a.") + format, "2M"});
    const std::string path = dir.file(std::string("a.") + format);
    CHECK(problem_of(path) ==
          "a " + std::string(format) + " image; convert it with `qemu-img convert -O raw " + path + " NEW`");
  }
}

TEST_CASE("headers of any bytes are answered, never believed") {
  const Folder dir;
  std::string header(104, '\0');
  header.replace(0, 8, std::string("QFI\xfb\0\0\0\x03", 8));
  const auto with = [&](std::size_t at, const std::string& bytes) {
    std::string text = header;
    text.replace(at, bytes.size(), bytes);
    fakes::write_file(dir / "x.qcow2", text + std::string(1000, '\xff'));
    return problem_of(dir.file("x.qcow2"));
  };
  CHECK(with(7, "\x09") == "qcow2 version 9 is unknown; wanted 2 or 3");
  CHECK(with(7, "\x03") == "none: qcow2");
  CHECK(with(8, std::string("\0\0\0\0\0\0\0\x40\xff\xff\xff\xff", 12)) ==
        "the name of its backing file is longer than 1023 bytes");
  CHECK(with(8, std::string(8, '\xff')) != "");  // a name far beyond the end
  CHECK(with(8, std::string("\0\0\0\0\0\0\0\x68\0\0\x03\xff", 12)).find("which is not there") != std::string::npos);
  CHECK(with(20, std::string("\xff\xff\xff\xff", 4)) != "");  // cluster bits
}
