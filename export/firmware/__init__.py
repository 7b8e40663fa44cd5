"""Plain C99 from a bundle: kernels, tables, a static memory plan, and self-test vectors."""

TARGETS = {
    "c99": "any compiler; its Makefile builds and runs the self-test on this machine",
    "cortex-m": "arm-none-eabi-gcc",
    "esp32": "an ESP-IDF component, with the loader of models in a flash partition",
}
