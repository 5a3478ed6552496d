// Images as qemu-img makes them: what they stand on, what vmrun does not run; and heads that nobody would make.
#include "launcher/facts/image.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/host/process.hpp"
#include "tests/fakes/temp_dir.hpp"

namespace {

using launcher::format_by_bytes;
using launcher::format_by_name;
using launcher::head_of;
using launcher::Image;
using launcher::parse_qcow2;
using launcher::read_qcow2;

struct Folder : fakes::TempDir {
  std::string file(const std::string& name) const { return path() / name; }
  // scripts/deps installs qemu-img: without it these tests fail, since what they show is not shown
  void img(std::vector<std::string> arguments) const {
    launcher::ChildSpec child;
    child.argv = {"/bin/sh", "-c", "cd \"$0\" && exec qemu-img \"$@\" >/dev/null", path()};
    child.argv.insert(child.argv.end(), arguments.begin(), arguments.end());
    REQUIRE(launcher::reap(launcher::spawn(child, {{2, 2}}, [](const launcher::ProcessId&) {}).pid) == 0);
  }
};

std::string problem_of(const std::string& path) {
  const auto image = read_qcow2(path);
  return image ? "none" : image.error();
}

std::string big_endian(std::uint64_t value, std::size_t size) {
  std::string bytes;
  for (std::size_t i = size; i-- > 0;) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

}  // namespace

TEST_CASE("a name says a format, or none; its bytes are asked apart") {
  for (const char* name : {"/a.raw", "b.img", "/x/debian.iso"}) CHECK(format_by_name(name) == "raw");
  CHECK(format_by_name("/x/a.qcow2") == "qcow2");
  for (const char* name : {"/etc/passwd", "/x/disk", "/raw", "/x/a.qcow2.bak", "/x/a.vmdk", ""})
    CHECK(format_by_name(name) == "");
}

TEST_CASE("bytes are of nothing known unless they begin as an image does") {
  const Folder dir;
  for (const std::string& text :
       {std::string(), std::string("x"), std::string(200, '\0'), std::string("QFI"), "LUKS" + std::string(200, '\0')}) {
    fakes::write_file(dir / "a.raw", text);
    CHECK(format_by_bytes(head_of(dir.file("a.raw"))) == "");
    CHECK(problem_of(dir.file("a.raw")) == "it is no qcow2 image");
  }
  CHECK(problem_of(dir.file("gone")) == "it is no qcow2 image");
}

TEST_CASE("only the first 64K of a file are read, and nothing waits for what is no file") {
  const Folder dir;
  fakes::write_file(dir / "long", std::string(200'000, 'x'));
  CHECK(head_of(dir.file("long")).size() == 64 * 1024);
  REQUIRE(mkfifo(dir.file("fifo").c_str(), 0600) == 0);
  for (const std::string& path : {dir.file("fifo"), std::string("/dev/zero"), dir.path().string()})
    CHECK(head_of(path) == "");
}

TEST_CASE("qcow2 of both versions") {
  const Folder dir;
  for (const char* compat : {"0.10", "1.1"}) {
    dir.img({"create", "-f", "qcow2", "-o", std::string("compat=") + compat, "a.qcow2", "1M"});
    CHECK(format_by_bytes(head_of(dir.file("a.qcow2"))) == "qcow2");
    const auto image = read_qcow2(dir.file("a.qcow2"));
    REQUIRE(image);
    CHECK(image->chain.empty());
    CHECK(image->bytes == 1 << 20);
  }
}

TEST_CASE("backing files are found, nearest first, relative to the image that names them") {
  const Folder dir;
  dir.img({"create", "-f", "raw", "base.raw", "1M"});
  std::filesystem::create_directory(dir / "sub");
  dir.img({"create", "-f", "qcow2", "-b", "../base.raw", "-F", "raw", "sub/mid.qcow2"});
  dir.img({"create", "-f", "qcow2", "-b", "sub/mid.qcow2", "-F", "qcow2", "top.qcow2"});
  const auto image = read_qcow2(dir.file("top.qcow2"));
  REQUIRE_MESSAGE(image.has_value(), (image ? "" : image.error()));
  REQUIRE(image->chain.size() == 2);
  CHECK(image->chain[0] == Image{dir.file("sub/mid.qcow2"), "qcow2"});
  CHECK(image->chain[1].format == "raw");
  CHECK(std::filesystem::equivalent(image->chain[1].path, dir / "base.raw"));
  dir.img({"create", "-f", "qcow2", "-b", dir.file("base.raw"), "-F", "raw", "absolute.qcow2"});
  CHECK(read_qcow2(dir.file("absolute.qcow2"))->chain == std::vector<Image>{{dir.file("base.raw"), "raw"}});
  dir.img({"create", "-f", "qcow2", "-b", "file:base.raw", "-F", "raw", "file.qcow2"});
  CHECK(read_qcow2(dir.file("file.qcow2"))->chain == std::vector<Image>{{dir.file("base.raw"), "raw"}});
}

TEST_CASE("a backing file said to be raw is raw, whatever a guest wrote into it") {
  const Folder dir;
  dir.img({"create", "-f", "raw", "base.raw", "1M"});
  for (const char* compat : {"0.10", "1.1"}) {
    dir.img(
        {"create", "-f", "qcow2", "-o", std::string("compat=") + compat, "-b", "base.raw", "-F", "raw", "top.qcow2"});
    dir.img({"create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "evil.qcow2", "1M"});
    std::string evil = fakes::read_file(dir / "evil.qcow2");
    evil.resize(1 << 20);
    fakes::write_file(dir / "base.raw", evil);  // as a guest could that once had it as its disk
    const auto image = read_qcow2(dir.file("top.qcow2"));
    REQUIRE(image);
    CHECK(image->chain == std::vector<Image>{{dir.file("base.raw"), "raw"}});
  }
}

TEST_CASE("what an image stands on must be there") {
  const Folder dir;
  dir.img({"create", "-f", "raw", "base.raw", "1M"});
  dir.img({"create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "top.qcow2"});
  std::filesystem::remove(dir / "base.raw");
  CHECK(problem_of(dir.file("top.qcow2")) ==
        "'" + dir.file("top.qcow2") + "' stands on '" + dir.file("base.raw") + "', which is not there");
}

TEST_CASE("a chain that loops, or is too long, is refused") {
  const Folder dir;
  dir.img({"create", "-f", "qcow2", "a.qcow2", "1M"});
  dir.img({"create", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2"});
  dir.img({"rebase", "-u", "-b", "b.qcow2", "-F", "qcow2", "a.qcow2"});
  CHECK(problem_of(dir.file("a.qcow2")) == "its chain of backing files is longer than 16, or loops");
  dir.img({"create", "-f", "qcow2", "c0", "1M"});
  for (int i = 1; i <= 17; ++i)
    dir.img({"create", "-f", "qcow2", "-b", "c" + std::to_string(i - 1), "-F", "qcow2", "c" + std::to_string(i)});
  CHECK(read_qcow2(dir.file("c16"))->chain.size() == 16);
  CHECK(problem_of(dir.file("c17")) == "its chain of backing files is longer than 16, or loops");
}

TEST_CASE("encrypted images and those with their data elsewhere are refused") {
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

TEST_CASE("other formats are named") {
  const Folder dir;
  for (const std::string format : {"vmdk", "vhdx", "qed", "vdi", "vpc", "parallels"}) {
    dir.img({"create", "-q", "-f", format, "a", "2M"});
    CHECK(format_by_bytes(head_of(dir.file("a"))) == format);
  }
  dir.img({"create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", "a", "2M"});  // words that name other files
  CHECK(format_by_bytes(head_of(dir.file("a"))) == "vmdk");
  CHECK(format_by_bytes("LUKS\xba\xbe") == "");  // what a guest does to its raw disk
}

TEST_CASE("a backing file whose format the image does not state is not followed") {
  const Folder dir;
  dir.img({"create", "-f", "qcow2", "base.qcow2", "1M"});
  dir.img({"create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2"});
  CHECK(problem_of(dir.file("top.qcow2")) == "none");
  std::string text = fakes::read_file(dir / "top.qcow2");  // as older qemu-img wrote it
  const std::size_t at = text.find(big_endian(0xe2792aca, 4));
  REQUIRE(at != text.npos);
  text.replace(at, 4, big_endian(0x12345678, 4));
  fakes::write_file(dir / "top.qcow2", text);
  CHECK(problem_of(dir.file("top.qcow2")).find("does not say which format '" + dir.file("base.qcow2") + "' has") !=
        std::string::npos);
  dir.img({"create", "-f", "vmdk", "-q", "base.vmdk", "1M"});
  dir.img({"create", "-q", "-f", "qcow2", "-b", "base.vmdk", "-F", "vmdk", "other.qcow2"});
  CHECK(problem_of(dir.file("other.qcow2")).find("as a vmdk image; wanted raw or qcow2") != std::string::npos);
}

TEST_CASE("a backing file is a plain file, and its name reaches a terminal printably") {
  const Folder dir;
  dir.img({"create", "-q", "-u", "-f", "qcow2", "-b", "/dev/zero", "-F", "raw", "zero.qcow2", "1M"});
  CHECK(problem_of(dir.file("zero.qcow2")) ==
        "'" + dir.file("zero.qcow2") + "' stands on '/dev/zero', which is no plain file");
  dir.img({"create", "-q", "-u", "-f", "qcow2", "-b", "/x\033[2J", "-F", "raw", "esc.qcow2", "1M"});
  CHECK(problem_of(dir.file("esc.qcow2")).find('\033') == std::string::npos);
}

TEST_CASE("headers of any bytes are answered, never believed, and at once") {
  std::string header(104, '\0');
  header.replace(0, 8, "QFI\xfb" + big_endian(3, 4));
  header.replace(20, 4, big_endian(16, 4));
  header.replace(100, 4, big_endian(104, 4));
  const auto with = [&](std::size_t at, const std::string& bytes, char rest = '\xff') {
    std::string text = header;
    text.replace(at, bytes.size(), bytes);
    const auto parsed = parse_qcow2(text + std::string(64 * 1024, rest));
    return parsed ? "none" : parsed.error();
  };
  const std::string misplaced = "the name of its backing file does not stand where its header says";
  CHECK(with(4, big_endian(9, 4)) == "qcow2 version 9 is unknown; wanted 2 or 3");
  CHECK(with(4, big_endian(3, 4)) == "none");
  CHECK(with(20, big_endian(31, 4)) == "its clusters have 2^31 bytes; wanted 2^9 to 2^21");
  CHECK(with(20, big_endian(8, 4)) == "its clusters have 2^8 bytes; wanted 2^9 to 2^21");
  CHECK(with(8, big_endian(0x40, 8) + big_endian(0xffffffff, 4)) ==
        "the name of its backing file is longer than 1023 bytes");
  CHECK(with(8, std::string(8, '\xff') + big_endian(5, 4)) == misplaced);
  CHECK(with(8, big_endian(0x200, 8) + big_endian(5, 4) + big_endian(9, 4)) == misplaced);  // beyond the first cluster
  CHECK(with(8, big_endian(0x200, 8) + big_endian(5, 4), '\0') == misplaced);
  CHECK(with(8, big_endian(0x200, 8) + big_endian(5, 4)).starts_with("its header goes on beyond 64K"));
  // extensions that lead from one to the next: each is 8 bytes, and the head ends
  CHECK(with(8, big_endian(0x70, 8) + big_endian(4, 4), '\1').starts_with("its header goes on beyond 64K"));
}
