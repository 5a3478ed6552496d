// Quoting, for QEMU and for a shell: a hostile name or path never becomes a second property or a second word.
#include "launcher/devices/qemu_args.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <boost/json.hpp>
#include <string>
#include <vector>

#include "launcher/host/process.hpp"

namespace {

using namespace launcher;

const std::vector<std::string> hostile = {"plain",
                                          "",
                                          " ",
                                          "a,b",
                                          ",",
                                          ",,",
                                          "a,,b,",
                                          ",readonly=on",
                                          "a=b,c=d",
                                          "line\nbreak",
                                          "\n",
                                          "tab\there",
                                          "'",
                                          "\"",
                                          "it's",
                                          "$HOME",
                                          "`id`",
                                          "$(id)",
                                          "\\",
                                          "\\\\n",
                                          "a\\\nb",
                                          "*",
                                          "?",
                                          "~",
                                          "-x",
                                          "--",
                                          "#",
                                          "&&",
                                          ";",
                                          "|",
                                          ">",
                                          "<",
                                          "!",
                                          "{}",
                                          "\xc3\xa9\xe2\x82\xac",
                                          "\xff\xfe",
                                          "\x1b[31m",
                                          "%s",
                                          "a b  c"};

// What `sh -c` makes of a line: its words, each ended by a NUL.
std::vector<std::string> words_of_shell(const std::string& line) {
  std::array<int, 2> ends{};
  REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
  ChildSpec child;
  child.argv = {"/bin/sh", "-c", "p() { printf '%s\\0' \"$@\"; }\np " + line};
  const ProcessId process = spawn(child, {{1, ends[1]}}, [](const ProcessId&) {});
  close(ends[1]);
  std::string all;
  char bytes[4096];
  for (ssize_t size; (size = read(ends[0], bytes, sizeof bytes)) > 0;)
    all.append(bytes, static_cast<std::size_t>(size));
  close(ends[0]);
  CHECK(reap(process.pid) == 0);
  std::vector<std::string> words;
  for (std::size_t end; (end = all.find('\0')) != std::string::npos; all.erase(0, end + 1))
    words.push_back(all.substr(0, end));
  return words;
}

// QEMU's own reading of "head,key=value,...": ",," is a comma (util/qemu-option.c get_opt_value).
std::vector<std::string> parts_of_qemu(const std::string& text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',')
      parts.back() += text[i];
    else if (i + 1 < text.size() && text[i + 1] == ',')
      parts.back() += text[i++];
    else
      parts.emplace_back();
  }
  return parts;
}

}  // namespace

TEST_CASE("options are written in order, truths as on and off") {
  Opts opts("virtio-blk-pci");
  opts.set("id", "disk0").set("packed", true).set("write-cache", false).set("num-queues", 4u).set("bootindex", -1);
  CHECK(opts.text() == "virtio-blk-pci,id=disk0,packed=on,write-cache=off,num-queues=4,bootindex=-1");
  CHECK(Opts().set("fd", 10).set("set", 10).text() == "fd=10,set=10");
  CHECK(Opts("none").text() == "none");
}

TEST_CASE("whatever a value is, it stays one value") {
  for (const std::string& value : hostile) {
    INFO(value);
    const std::string text = Opts("file").set("path", value).set("last", true).text();
    CHECK(parts_of_qemu(text) == std::vector<std::string>{"file", "path=" + value, "last=on"});
  }
  CHECK(Opts("a,b").set("c", "d").text() == "a,,b,c=d");
}

TEST_CASE("JSON values are whole JSON, whatever is in them") {
  QemuArgs args;
  args.add("-object", boost::json::object{{"qom-type", "iothread"}, {"id", "a\",\n\\b,c"}}, "why", "default");
  CHECK(args.list()[0].value == R"({"qom-type":"iothread","id":"a\",\n\\b,c"})");
}

TEST_CASE("the command line is the list, without empty values") {
  QemuArgs args;
  args.add("-nodefaults", "why", "default");
  args.add("-display", Opts("none"), "why", "default");
  args.add_plain({"-append", "root=/dev/vda a,b", "why", "spec boot.cmdline"});
  args.add_extra("-device");
  args.add_extra("virtio-rng-pci,id=x");
  CHECK(args.argv("/bin/qemu") == std::vector<std::string>{"/bin/qemu", "-nodefaults", "-display", "none", "-append",
                                                           "root=/dev/vda a,b", "-device", "virtio-rng-pci,id=x"});
  CHECK(args.list()[3].origin == "extra_args");
  CHECK(args.list()[4].origin == "extra_args");
}

TEST_CASE("the line for a shell gives the same words back") {
  std::vector<std::string> argv{"/usr/bin/qemu-system-x86_64"};
  for (const std::string& word : hostile) {
    argv.push_back("-option");
    argv.push_back(word);
  }
  CHECK(words_of_shell(shell_line(argv)) == argv);
  for (const std::string& word : hostile) {
    INFO(word);
    CHECK(words_of_shell(shell_line({"/bin/x y", word})) == std::vector<std::string>{"/bin/x y", word});
  }
}

TEST_CASE("the line for a shell has nothing in it that a terminal obeys") {
  const std::vector<std::string> argv = {"/q", "a\033]0;x\007'b", "\xff\u009b\u202eü"};
  CHECK(shell_line(argv) ==
        "/q 'a'\"$(printf '\\033')\"']0;x'\"$(printf '\\007')\"''\\''b' "
        "''\"$(printf '\\377')\"''\"$(printf '\\302\\233')\"''\"$(printf '\\342\\200\\256')\"'ü'\n");
  CHECK(words_of_shell(shell_line(argv)) == argv);
}

TEST_CASE("the line for a shell is for people too: an option a line") {
  CHECK(shell_line({"/q", "-S", "-m", "4096k", "-name", "guest=a b"}) ==
        "/q \\\n  -S \\\n  -m 4096k \\\n  -name 'guest=a b'\n");
}

TEST_CASE("the child's fds are numbered from 10, each once") {
  FdPlan fds;
  CHECK(fds.take("a") == 10);
  CHECK(fds.take("a") == 11);
  CHECK(fds.take("b") == 12);
  CHECK(fds.list() == std::vector<FdPlan::Planned>{{10, "a"}, {11, "a"}, {12, "b"}});
}
