// SPDX-License-Identifier: MIT
// Says on the serial port whether the model answers on this board as its bundle promises, and how
// long it takes for a picture.
#include <edgeemo_model.h>

static const char *const labels[EDGEEMO_LABEL_COUNT] = EDGEEMO_LABELS;
static uint8_t pixels[EDGEEMO_INPUT_BYTES]; // black

void setup()
{
    Serial.begin(115200);
    while (!Serial && millis() < 3000) {
    }
}

void loop()
{
    int8_t logits[EDGEEMO_LABEL_COUNT];
    uint16_t scores[EDGEEMO_LABEL_COUNT];
    const int failed = edgeemo_init() != 0 ? -1 : edgeemo_selftest();
    if (failed != 0) {
        Serial.println(failed < 0 ? "the tables in flash are damaged" : "the self-test failed");
    } else {
        const unsigned long start = micros();
        edgeemo_infer(pixels, logits);
        const unsigned long taken = micros() - start;
        edgeemo_softmax_q15(logits, scores);
        Serial.print("self-test passed; a picture takes ");
        Serial.print(taken);
        Serial.println(" microseconds");
        for (int i = 0; i < EDGEEMO_LABEL_COUNT; ++i) {
            Serial.print(labels[i]);
            Serial.print(" ");
            Serial.println(scores[i] / 32768.0f);
        }
    }
    delay(5000);
}
