package io.github.shufflenettf.demo

import android.Manifest
import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Intent
import android.content.pm.PackageManager
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.provider.MediaStore
import android.provider.Settings

/** The main screen: classifies camera frames or a photo. */
class MainActivity : Activity() {
    private lateinit var session: Session
    private lateinit var screen: Screen
    private lateinit var live: LiveView
    private lateinit var preferences: Preferences
    private var started = false
    private var pickerMissing = false

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(R.layout.main)
        preferences = Preferences(this)
        @Suppress("DEPRECATION") // part of the framework; its replacement needs a library
        val retained = lastNonConfigurationInstance as Session?
        session = retained ?: Session(this)
        session.observer = ::show
        screen = Screen(this, session)
        live = LiveView(screen.preview, session.pipeline, LiveOwner())
        screen.picture.setOnClickListener { togglePause() }
        screen.live.setOnClickListener { goLive() }
        screen.photo.setOnClickListener { pickPhoto() }
        screen.settings.setOnClickListener { openSettings() }
        if (retained == null) restore(state)
    }

    /** Shows the photo of the intent at the start, or that of the state after the system stopped the app in the background. */
    private fun restore(state: Bundle?) {
        val photo = if (state == null) intent.sharedPicture() else state.getString(PHOTO)?.let(Uri::parse)
        photo?.let(session::showPhoto)
    }

    override fun onSaveInstanceState(state: Bundle) {
        super.onSaveInstanceState(state)
        session.photoUri?.let { state.putString(PHOTO, it.toString()) }
    }

    @Suppress("OVERRIDE_DEPRECATION")
    override fun onRetainNonConfigurationInstance(): Any {
        session.observer = null
        return session
    }

    override fun onDestroy() {
        super.onDestroy()
        if (!isChangingConfigurations) session.close()
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        intent.sharedPicture()?.let(::showPhoto)
    }

    // In multi-window mode an app without focus is paused but visible: the camera runs from start to stop.
    override fun onStart() {
        super.onStart()
        started = true
        live.start()
        session.applyPreferences()
        if (!cameraAllowed() && !preferences.cameraAsked && session.mode == Mode.LIVE) askForCamera()
        openCamera()
    }

    override fun onResume() {
        super.onResume()
        if (!live.running) openCamera() // another app may have used it
    }

    override fun onStop() {
        super.onStop()
        started = false
        live.stop()
    }

    private fun cameraAllowed() = checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED

    private fun askForCamera() {
        preferences.cameraAsked = true
        requestPermissions(arrayOf(Manifest.permission.CAMERA), CAMERA_REQUEST)
    }

    override fun onRequestPermissionsResult(code: Int, permissions: Array<out String>, results: IntArray) {
        super.onRequestPermissionsResult(code, permissions, results)
        openCamera()
    }

    private fun openCamera() {
        if (started && session.mode != Mode.PHOTO && cameraAllowed()) {
            live.open(session.usefulPixels)
            live.freeze(session.mode == Mode.PAUSED)
        }
        show()
    }

    private fun togglePause() {
        if (session.mode == Mode.PAUSED) return goLive()
        if (!live.running) return
        session.pause(live.picture())
        live.freeze(true)
    }

    private fun goLive() {
        pickerMissing = false
        session.resume()
        if (live.running) live.freeze(false) else openCamera()
    }

    private fun openSettings() = startActivity(Intent(this, SettingsActivity::class.java))

    private fun openAppSettings() =
        startActivity(Intent(Settings.ACTION_APPLICATION_DETAILS_SETTINGS, Uri.fromParts("package", packageName, null)))

    private fun pickPhoto() {
        val newPicker = Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU
        val intent = if (newPicker) Intent(MediaStore.ACTION_PICK_IMAGES) else Intent(Intent.ACTION_OPEN_DOCUMENT)
        intent.type = "image/*"
        if (!newPicker) intent.addCategory(Intent.CATEGORY_OPENABLE)
        try {
            startActivityForResult(intent, PHOTO_REQUEST)
        } catch (missing: ActivityNotFoundException) {
            pickerMissing = true
            show()
        }
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        super.onActivityResult(request, result, data)
        val photo = data?.data
        if (request == PHOTO_REQUEST && result == RESULT_OK && photo != null) showPhoto(photo)
    }

    private fun showPhoto(photo: Uri) {
        live.close()
        session.showPhoto(photo)
    }

    private fun show() = screen.show(errorCard())

    /** Returns the card of the most important error; null: there is none. */
    private fun errorCard(): ErrorCard? {
        val problem = session.problem
        val cameraProblem = live.problem
        val choose = CardAction(R.string.choose_photo, ::pickPhoto)
        val toCamera = CardAction(R.string.back_to_camera, ::goLive)
        fun card(title: Int, text: Int, first: CardAction, second: CardAction? = null) =
            ErrorCard(title, getString(text), first, second)
        return when {
            session.models.names.isEmpty() ->
                card(R.string.model_missing_title, R.string.model_missing_text, CardAction(R.string.settings_title, ::openSettings))
            problem != null ->
                ErrorCard(R.string.model_title, resources.sentence(problem), CardAction(R.string.other_model, ::openSettings))
            pickerMissing -> card(R.string.photo_title, R.string.photo_picker_missing, toCamera)
            session.photoFailed -> card(R.string.photo_title, R.string.photo_unreadable, choose, toCamera)
            session.mode == Mode.PHOTO -> null
            !cameraAllowed() && refusedForGood() -> {
                val settings = CardAction(R.string.permission_settings, ::openAppSettings)
                card(R.string.permission_title, R.string.permission_denied_text, settings, choose)
            }
            !cameraAllowed() -> {
                val allow = CardAction(R.string.permission_allow, ::askForCamera)
                card(R.string.permission_title, R.string.permission_text, allow, choose)
            }
            cameraProblem != null ->
                card(R.string.camera_title, cameraProblem, CardAction(R.string.try_again, ::openCamera), choose)
            else -> null
        }
    }

    /** Whether the system no longer asks the user. */
    private fun refusedForGood() = preferences.cameraAsked && !shouldShowRequestPermissionRationale(Manifest.permission.CAMERA)

    private inner class LiveOwner : LiveView.Owner {
        override fun onViewReady() = openCamera()

        override fun onLayout(camera: Camera?, display: Int) = screen.lay(camera, display)

        override fun onCameraProblem() = show()
    }

    private companion object {
        const val CAMERA_REQUEST = 1
        const val PHOTO_REQUEST = 2
        const val PHOTO = "photo"
    }
}
