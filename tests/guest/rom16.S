# A firmware image that is a whole guest: says `vmrun-rom up` on COM1 and halts. It starts at the reset vector, in real mode,
# needs no SeaBIOS, no disk and no interrupt, and so runs in a few milliseconds under any accelerator, even where an ordinary
# boot takes seconds. Assemble as 32-bit code, link at 0 into a 64 KiB flat binary (scripts/guest --rom FILE), start with -bios.
        .code16
        .globl  _start

        .set    COM1, 0x3f8             # UART: transmit register; line status is 5 above
        .set    READY, 0x20             # line status: transmit register is empty

_start: cli
        movw    $0xf000, %ax            # the segment in which the last 64 KiB below 1 MiB, this image, appears
        movw    %ax, %ds
        movw    $text, %si
        cld
next:   lodsb
        testb   %al, %al
        jz      done
        movb    %al, %ah
wait:   movw    $COM1 + 5, %dx
        inb     %dx, %al
        testb   $READY, %al
        jz      wait
        movb    %ah, %al
        movw    $COM1, %dx
        outb    %al, %dx
        jmp     next
done:   hlt                             # interrupts are off: only an NMI gets past this
        jmp     done

text:   .asciz  "vmrun-rom up\r\n"

        .org    0xfff0                  # the processor's first instruction
        ljmp    $0xf000, $_start
        .org    0x10000
