# A firmware image that is a whole guest, as tests/guest/rom16.S: says `vmrun-rom up` on COM1, and `done` for each byte that comes there;
# for a w it adds up the first bytes of each 64-byte line of 512 KiB of memory before that, a fixed number of times: the same work each time.
# as --32, then ld -m elf_i386 -Ttext 0 -e 0 --oformat binary; real mode.
        .code16
        .globl  _start

        .set    COM1, 0x3f8             # UART: data register; line status is 5 above
        .set    READY, 0x20             # line status: transmit register is empty
        .set    RECEIVED, 0x01          # line status: a byte is there
        .set    PASSES, 40000

_start: cli
        movw    $0xf000, %ax            # the segment in which the last 64 KiB below 1 MiB, this image, appears
        movw    %ax, %ds
        cld
        movw    $up, %si
        jmp     say
listen: movw    $COM1 + 5, %dx
        inb     %dx, %al
        testb   $RECEIVED, %al
        jz      listen
        movw    $COM1, %dx
        inb     %dx, %al
        movw    $ready, %si
        cmpb    $'w', %al
        jne     say
        xorl    %eax, %eax
        movw    $PASSES, %bp
pass:   movw    $0x1000, %cx            # 64 KiB to 576 KiB, a segment of 64 KiB each time
part:   movw    %cx, %es
        xorw    %di, %di
line:   addl    %es:(%di), %eax
        addw    $64, %di
        jnz     line
        addw    $0x1000, %cx
        cmpw    $0x9000, %cx
        jne     part
        decw    %bp
        jnz     pass
say:    lodsb
        testb   %al, %al
        jz      listen
        movb    %al, %ah
wait:   movw    $COM1 + 5, %dx
        inb     %dx, %al
        testb   $READY, %al
        jz      wait
        movb    %ah, %al
        movw    $COM1, %dx
        outb    %al, %dx
        jmp     say

up:     .asciz  "vmrun-rom up\r\n"
ready:  .asciz  "done\r\n"

        .org    0xfff0                  # the processor's first instruction
        ljmp    $0xf000, $_start
        .org    0x10000
