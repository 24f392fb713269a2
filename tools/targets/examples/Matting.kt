// Mattes a video frame by frame with a LiteRT file of one size. The app needs com.google.ai.edge.litert:litert.
//
//     val matting = Matting(File(path))
//     canvas.drawBitmap(matting.matte(frame), 0f, 0f, null)  // over any background

import android.graphics.Bitmap
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val SIGNATURE = "serving_default"
private val STATES = listOf("r1", "r2", "r3", "r4")

class Matting(model: File, threads: Int = 4) : AutoCloseable {
    private val interpreter = Interpreter(model, Interpreter.Options().setNumThreads(threads))
    private val src = interpreter.getInputTensorFromSignature("src", SIGNATURE)
    private val source = buffer(src)
    private val fgr = buffer(interpreter.getOutputTensorFromSignature("fgr", SIGNATURE))
    private val pha = buffer(interpreter.getOutputTensorFromSignature("pha", SIGNATURE))
    private var before = STATES.map { buffer(interpreter.getInputTensorFromSignature(it + "i", SIGNATURE)) }
    private var after = STATES.map { buffer(interpreter.getOutputTensorFromSignature(it + "o", SIGNATURE)) }
    private val pixels: IntArray

    val height = src.shape()[1]
    val width = src.shape()[2]

    init {
        pixels = IntArray(width * height)
    }

    /** Return the foreground, transparent where there is none. The frame must have the model's size. */
    fun matte(frame: Bitmap): Bitmap {
        require(frame.width == width && frame.height == height) {
            "the frame has ${frame.width}x${frame.height} pixels, and the model takes ${width}x$height"
        }
        frame.getPixels(pixels, 0, width, 0, 0, width, height)
        source.rewind()
        for (pixel in pixels) {
            source.putFloat((pixel shr 16 and 255) / 255f)
            source.putFloat((pixel shr 8 and 255) / 255f)
            source.putFloat((pixel and 255) / 255f)
        }
        val outputs = listOf(fgr, pha) + after
        (listOf(source) + before + outputs).forEach { it.rewind() }
        interpreter.runSignature(
            mapOf<String, Any>("src" to source) + STATES.map { it + "i" }.zip(before),
            mapOf<String, Any>("fgr" to fgr, "pha" to pha) + STATES.map { it + "o" }.zip(after),
            SIGNATURE
        )
        before = after.also { after = before }
        outputs.forEach { it.rewind() }
        for (k in pixels.indices) {
            val colour = (level(fgr) shl 16) or (level(fgr) shl 8) or level(fgr)
            pixels[k] = (level(pha) shl 24) or colour
        }
        return Bitmap.createBitmap(pixels, width, height, Bitmap.Config.ARGB_8888)
    }

    /** Forget the frames before: call it at a cut and before another video. */
    fun reset() {
        for (state in before) {
            for (k in 0 until state.capacity()) state.put(k, 0)
        }
    }

    override fun close() = interpreter.close()
}

/** Return zeros for a tensor: a direct buffer is filled with them. */
private fun buffer(tensor: Tensor) = ByteBuffer.allocateDirect(tensor.numBytes()).order(ByteOrder.nativeOrder())

private fun level(values: ByteBuffer) = Math.round(values.getFloat() * 255)
